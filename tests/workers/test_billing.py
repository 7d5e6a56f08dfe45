"""Events and purchases taken up by their tasks, as a worker runs them: claimed, fenced, tried again, given up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import update

from core.billing import purchases, stripe_api, stripe_events
from core.billing.models import Purchase, PurchaseState
from core.billing.stripe_facts import Checkout
from core.database import transaction
from core.jobs import Job, JobState
from core.queue import TaskName
from tests.core.billing.kit import (
    RETURN_URLS,
    Effects,
    at_stripe,
    bring_up_to_date,
    effects,
    events_kept,
    jobs_with_key,
    make_buyer,
    make_credited,
    make_event,
    make_paid,
    make_purchase,
    pay,
    stripe_requests,
    turn,
)
from tests.house import House
from tests.workers.here import Here

HANDLE, CREDIT = TaskName.HANDLE_STRIPE_EVENT, TaskName.CREDIT_PURCHASE
CREDITED = Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)
NOTHING = Effects(state="open", balance_mc=0, entries=0, receipts=0)


@pytest.fixture
async def knobs(house: House) -> AsyncIterator[None]:
    """The stand-in's knobs, as at the start again afterwards."""
    yield
    await turn()


async def keep(event: dict[str, Any]) -> UUID:
    """An event in the inbox; its job waits."""
    async with transaction() as session:
        await stripe_events.record(session, event)
    [job] = await jobs_with_key(f"stripe:{event['id']}")
    return job.id


async def ask_later(purchase: Purchase) -> UUID:
    async with transaction() as session:
        await purchases.credit_later(session, purchase.id)
    [job] = await jobs_with_key(f"credit:{purchase.id}")
    return job.id


async def job_of(job_id: UUID) -> Job:
    async with transaction() as session:
        return await session.get_one(Job, job_id)


async def outcome_of(event: dict[str, Any]) -> str | None:
    [kept] = await events_kept(event["id"])
    assert (kept.handled_at is None) == (kept.outcome is None)
    return kept.outcome


async def make_due(job_id: UUID, **changes: Any) -> None:
    """As if its back-off were over."""
    async with transaction() as session:
        now = datetime.now(UTC) - timedelta(seconds=1)
        await session.execute(update(Job).where(Job.id == job_id).values(available_at=now, **changes))


async def make_cheap() -> tuple[Purchase, Checkout]:
    """A purchase whose session at Stripe refers to it, but sold it for a cent, and was paid."""
    buyer = await make_buyer()
    async with transaction() as session:
        purchase = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key="cheap")
    cheap = Purchase(id=purchase.id, currency=purchase.currency, amount_minor=1)
    checkout = await stripe_api.create_session(cheap, name="Starter", **RETURN_URLS)
    async with transaction() as session:
        await purchases.attach(session, purchase.id, checkout)
    await pay(checkout.id)
    return purchase, checkout


async def test_an_event_of_a_payment_credits_the_purchase(here: Here) -> None:
    purchase, checkout = await make_paid()
    event = make_event(checkout.id)
    job_id = await keep(event)

    await here.attempt(HANDLE, job_id)

    assert await effects(purchase) == CREDITED
    assert await outcome_of(event) == "credited"
    job = await job_of(job_id)
    assert (job.state, job.result) == (JobState.DONE, {"outcome": "credited"})


async def test_a_doubled_message_finds_nothing_to_do(here: Here) -> None:
    purchase, checkout = await make_paid()
    job_id = await keep(make_event(checkout.id))

    await asyncio.gather(*(here.attempt(HANDLE, job_id) for _ in range(10)))
    await here.attempt(HANDLE, job_id)

    assert await effects(purchase) == CREDITED
    assert (await job_of(job_id)).attempts == 1


async def test_all_ways_to_credit_at_once_credit_once(here: Here) -> None:
    purchase, checkout = await make_paid()
    kinds = ("checkout.session.completed", "checkout.session.async_payment_succeeded")
    events = [make_event(checkout.id, kind) for kind in kinds * 5]
    ways: list[Awaitable[object]] = [here.attempt(HANDLE, await keep(event)) for event in events]
    ways.append(here.attempt(CREDIT, await ask_later(purchase)))

    ways += [bring_up_to_date(purchase) for _ in range(5)]

    await asyncio.gather(*ways)

    assert await effects(purchase) == CREDITED
    outcomes = [await outcome_of(event) for event in events]
    assert set(outcomes) <= {"credited", "nothing"}
    assert outcomes.count("credited") <= 1


async def test_an_event_says_only_which_session_to_ask_for(here: Here) -> None:
    purchase, checkout = await make_purchase()
    event = make_event(checkout.id)
    event["data"]["object"] |= {"payment_status": "paid", "status": "complete", "amount_total": 500}

    await here.attempt(HANDLE, await keep(event))

    assert await outcome_of(event) == "waiting"
    assert await effects(purchase) == NOTHING


@pytest.mark.parametrize(
    ("succeeds", "kind", "expected"),
    [
        (True, "checkout.session.async_payment_succeeded", CREDITED),
        (False, "checkout.session.async_payment_failed", Effects(state="failed", balance_mc=0, entries=0, receipts=0)),
    ],
)
async def test_a_delayed_payment_is_decided_by_its_last_event(
    here: Here, succeeds: bool, kind: str, expected: Effects
) -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "delayed")
    completed = make_event(checkout.id)

    await here.attempt(HANDLE, await keep(completed))
    before = await effects(purchase)
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": succeeds})
    await here.attempt(HANDLE, await keep(make_event(checkout.id, kind)))

    assert (await outcome_of(completed), before) == ("waiting", NOTHING)
    assert await effects(purchase) == expected


async def test_an_expired_session_ends_its_purchase(here: Here) -> None:
    purchase, checkout = await make_purchase()
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/expire")
    event = make_event(checkout.id, "checkout.session.expired")

    await here.attempt(HANDLE, await keep(event))

    assert await outcome_of(event) == "expired"
    assert (await effects(purchase)).state == PurchaseState.EXPIRED


async def test_an_event_of_another_type_is_kept_and_ignored(here: Here) -> None:
    event = make_event("ch_1", "charge.succeeded")
    job_id, before = await keep(event), await stripe_requests()

    await here.attempt(HANDLE, job_id)

    assert await outcome_of(event) == "ignored"
    assert await stripe_requests() == before


async def test_a_payment_of_another_amount_grants_nothing_and_is_over(here: Here) -> None:
    purchase, checkout = await make_cheap()
    event = make_event(checkout.id)
    job_id = await keep(event)

    await here.attempt(HANDLE, job_id)

    assert await effects(purchase) == NOTHING
    assert await outcome_of(event) == "mismatched-payment"
    assert (await job_of(job_id)).state == JobState.DONE


async def test_events_of_sessions_that_are_not_ours_grant_nothing(here: Here) -> None:
    stray = await stripe_api.create_session(
        Purchase(id=UUID(int=7), currency="usd", amount_minor=500), name="Starter", **RETURN_URLS
    )
    unknown, nobodys = make_event("cs_test_never_made"), make_event(stray.id)

    for event in (unknown, nobodys):
        await here.attempt(HANDLE, await keep(event))

    assert await outcome_of(unknown) == "unknown-checkout"
    assert await outcome_of(nobodys) == "unknown-purchase"


async def test_while_stripe_is_down_the_event_waits_and_is_handled_later(here: Here, knobs: None) -> None:
    purchase, checkout = await make_paid()
    event = make_event(checkout.id)
    job_id = await keep(event)
    await turn(fail={"status": 429, "retry_after": 30, "match": "checkout"})

    began = datetime.now(UTC)
    await here.attempt(HANDLE, job_id)
    waiting = await job_of(job_id)
    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 1)
    assert waiting.available_at >= began + timedelta(seconds=25)  # what Stripe asked for, not our 2 seconds
    assert await outcome_of(event) is None

    await make_due(job_id)
    await here.attempt(HANDLE, job_id)
    assert await effects(purchase) == CREDITED
    assert (await job_of(job_id)).state == JobState.DONE


async def test_an_event_whose_attempts_are_used_up_is_left_for_an_operator(here: Here, knobs: None) -> None:
    purchase, checkout = await make_paid()
    event = make_event(checkout.id)
    job_id = await keep(event)
    await turn(fail={"status": 500, "times": 0, "match": "checkout"})

    await make_due(job_id, max_attempts=2)
    await here.attempt(HANDLE, job_id)
    await make_due(job_id)
    await here.attempt(HANDLE, job_id)

    job = await job_of(job_id)
    assert (job.state, job.attempts, job.dead) == (JobState.FAILED, 2, True)
    [kept] = await events_kept(event["id"])
    assert (kept.handled_at, kept.outcome) == (None, "failed: stripe-unavailable")
    assert await effects(purchase) == NOTHING


async def test_a_purchase_is_credited_by_the_task_that_its_page_left_behind(here: Here) -> None:
    purchase, _ = await make_paid()
    job_id = await ask_later(purchase)

    await here.attempt(CREDIT, job_id)

    assert await effects(purchase) == CREDITED
    job = await job_of(job_id)
    assert (job.state, job.result) == (JobState.DONE, {"outcome": "credited"})


async def test_a_mismatch_found_by_that_task_is_not_tried_again(here: Here) -> None:
    purchase, _ = await make_cheap()
    job_id = await ask_later(purchase)

    await here.attempt(CREDIT, job_id)

    job = await job_of(job_id)
    assert (job.state, job.error) == (JobState.FAILED, "mismatched-payment")
    assert await effects(purchase) == NOTHING


async def test_a_broken_rule_of_billing_is_an_alarm_with_the_account(
    house: House, alarms: Callable[[], list[dict[str, Any]]]
) -> None:
    from workers import upkeep

    purchase, _ = await make_credited()
    check = cast("Any", upkeep.check_ledger).body

    for reversed_minor, told in ((5, [(5, 0)]), (0, [])):
        async with transaction() as session:
            which = update(Purchase).where(Purchase.id == purchase.id)
            await session.execute(which.values(reversed_minor=reversed_minor))
        alarms()
        await check(None)
        mine = [one for one in alarms() if one.get("account") == str(purchase.account_id)]
        prices = [(one["kept"], one["expected"]) for one in mine if one["rule"].startswith("of a purchase's price")]
        assert prices == told
        assert {one["event"] for one in mine} <= {"billing_violation"}
