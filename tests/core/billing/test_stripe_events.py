import asyncio

import pytest

from core import claims
from core.billing import stripe_events
from core.database import transaction
from core.errors import NotFound
from core.jobs import JobState
from core.queue import TaskName
from tests.core.billing.kit import events_kept, jobs_with_key, make_event

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


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("checkout.session.completed", "cs_test_1"),
        ("checkout.session.async_payment_succeeded", "cs_test_1"),
        ("checkout.session.async_payment_failed", "cs_test_1"),
        ("checkout.session.expired", "cs_test_1"),
        ("charge.succeeded", None),
        ("invoice.paid", None),
    ],
)
async def test_only_what_we_handle_is_about_a_checkout(kind: str, about: str | None) -> None:
    event = make_event("cs_test_1", kind)

    async with transaction() as session:
        await stripe_events.record(session, event)
        assert await stripe_events.checkout_of(session, event["id"]) == about


async def test_an_event_that_was_never_kept_is_not_found() -> None:
    with pytest.raises(NotFound):
        async with transaction() as session:
            await stripe_events.checkout_of(session, "evt_never_kept")


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
