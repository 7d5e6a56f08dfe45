import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core import claims
from core.billing import stripe_events
from core.billing.stripe_events import About, OtherMode
from core.database import transaction
from core.errors import NotFound
from core.jobs import JobState
from core.queue import TaskName
from tests.core.billing.kit import events_kept, jobs_with_key, know, make_credited, make_event

pytestmark = pytest.mark.usefixtures("house")


async def test_an_event_that_comes_often_and_at_once_is_kept_once_with_one_job() -> None:
    event = make_event("cs_test_1")

    async def record() -> bool:
        async with transaction() as session:
            return await stripe_events.record(session, event)

    kept = await asyncio.gather(*(record() for _ in range(20)))

    assert kept.count(True) == 1
    [row] = await events_kept(event["id"])
    assert row.body == event
    [job] = await jobs_with_key(f"stripe:{event['id']}")
    assert job.task == TaskName.HANDLE_STRIPE_EVENT
    assert job.payload == {"event_id": event["id"]}


async def test_an_event_is_not_kept_without_its_job() -> None:
    event = make_event("cs_test_1")

    async def record_and_fail() -> None:
        async with transaction() as session:
            assert await stripe_events.record(session, event)
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await record_and_fail()

    assert await events_kept(event["id"]) == []
    assert await jobs_with_key(f"stripe:{event['id']}") == []


def checkout(kind: str) -> str:
    return f"checkout.session.{kind}"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (checkout("completed"), About(checkout="name")),
        (checkout("async_payment_succeeded"), About(checkout="name")),
        (checkout("async_payment_failed"), About(checkout="name")),
        (checkout("expired"), About(checkout="name")),
        ("charge.refunded", About(payment_intent="name")),
        ("refund.failed", About(payment_intent="name")),
        ("charge.refund.updated", About(payment_intent="name")),
        ("charge.dispute.created", About(payment_intent="name")),
        ("charge.dispute.funds_reinstated", About(payment_intent="name")),
        ("charge.succeeded", About()),
        ("invoice.paid", About()),
    ],
)
async def test_an_event_is_about_a_session_or_a_payment(kind: str, found: About) -> None:
    event = make_event("name", kind)

    async with transaction() as session:
        await stripe_events.record(session, event)
        assert await stripe_events.about(session, event["id"]) == found


async def test_an_event_names_its_purchase_by_session_and_by_payment() -> None:
    purchase, payment = await make_credited()
    session_id = (await know(purchase)).stripe_session_id
    events = make_event(session_id), make_event(payment, "refund.created")

    async with transaction() as session:
        for event in events:
            await stripe_events.record(session, event)
            known = (await stripe_events.about(session, event["id"])).known
            assert known is not None
            assert known.purchase_id == purchase.id


async def test_an_event_of_the_other_mode_is_refused_with_an_alert(
    alarms: Callable[[], list[dict[str, Any]]],
) -> None:
    event = make_event("cs_test_1") | {"livemode": True}

    async with transaction() as session:
        await stripe_events.record(session, event)
        with pytest.raises(OtherMode):
            await stripe_events.about(session, event["id"])

    assert [one["event"] for one in alarms()] == ["stripe_event_of_other_mode"]


async def test_an_event_that_was_never_kept_is_not_found() -> None:
    with pytest.raises(NotFound):
        async with transaction() as session:
            await stripe_events.about(session, "evt_never_kept")


async def test_the_first_word_on_an_event_stands() -> None:
    event = make_event("cs_test_1")
    async with transaction() as session:
        await stripe_events.record(session, event)

    for outcome in ("credited", "nothing"):
        async with transaction() as session:
            await stripe_events.mark_handled(session, event["id"], outcome)

    [row] = await events_kept(event["id"])
    assert row.outcome == "credited"
    assert row.handled_at is not None


async def test_an_event_whose_handling_is_given_up_stays_unhandled_with_the_reason() -> None:
    event = make_event("cs_test_1")
    async with transaction() as session:
        await stripe_events.record(session, event)
    [job] = await jobs_with_key(f"stripe:{event['id']}")
    claimed = await claims.claim(job.id)
    assert claimed is not None

    async with transaction() as session:
        await claims.give_up(session, claimed, JobState.FAILED, "stripe-unavailable", dead=True)

    [row] = await events_kept(event["id"])
    assert row.outcome == "failed: stripe-unavailable"
    assert row.handled_at is None
