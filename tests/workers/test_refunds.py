"""A buyer's refund on its way to Stripe, by its task: once, whatever breaks between."""

from collections.abc import AsyncIterator

import pytest

from core.billing import returns
from core.billing.models import Purchase, Refund, RefundState
from core.database import transaction
from core.jobs import JobState
from core.queue import TaskName
from tests.core.billing.kit import (
    ask_for_refund,
    at_stripe,
    balance_mc,
    bring_up_to_date,
    close_dispute,
    dispute_at_stripe,
    jobs_with_key,
    letters_of,
    make_credited,
    refund_at_stripe,
    turn,
    use,
)
from tests.house import House
from tests.workers.here import Here

ISSUE = TaskName.ISSUE_REFUND


@pytest.fixture
async def knobs(house: House) -> AsyncIterator[None]:
    """The stand-in's knobs, as at the start again afterwards."""
    yield
    await turn()


async def issue(here: Here, refund: Refund) -> None:
    await here.work_off(ISSUE, keys=[f"refund:{refund.id}"])


async def known(purchase: Purchase) -> list[Refund]:
    async with transaction() as session:
        return (await returns.known(session, purchase.id)).refunds


async def refunds_at_stripe(payment: str) -> list[int]:
    return [one["amount"] for one in (await at_stripe("GET", f"/v1/refunds?payment_intent={payment}"))["data"]]


async def test_a_refund_reaches_stripe_and_the_buyer_is_told(here: Here) -> None:
    purchase, payment = await make_credited()
    await use(purchase, 100_000)
    refund = await ask_for_refund(purchase)

    await issue(here, refund)

    [row] = await known(purchase)
    assert (row.id, row.state, row.stripe_refund_id is not None) == (refund.id, RefundState.SUCCEEDED, True)
    assert await refunds_at_stripe(payment) == [400]
    assert await balance_mc(purchase) == 0
    assert await letters_of(purchase) == ["refund_sent"]


async def test_a_refund_whose_answer_was_lost_is_made_once(here: Here, knobs: None) -> None:
    """Stripe did it, and repeats a 500 to the same key from then on."""
    purchase, payment = await make_credited()
    refund = await ask_for_refund(purchase)
    await turn(fail={"status": 500, "executed": True, "match": "refunds"})

    await issue(here, refund)

    assert await refunds_at_stripe(payment) == [500]
    [row] = await known(purchase)
    assert row.state == RefundState.SUCCEEDED
    [job] = await jobs_with_key(f"refund:{refund.id}")
    assert (job.state, job.attempts) == (JobState.DONE, 2)


async def test_a_refund_of_which_the_webhook_spoke_first_is_the_same_refund(here: Here, knobs: None) -> None:
    purchase, payment = await make_credited()
    refund = await ask_for_refund(purchase)
    await turn(fail={"status": 500, "executed": True, "match": "refunds"})
    [job] = await jobs_with_key(f"refund:{refund.id}")
    await here.attempt(ISSUE, job.id)

    await bring_up_to_date(purchase)
    await issue(here, refund)

    assert [row.id for row in await known(purchase)] == [refund.id]
    assert await refunds_at_stripe(payment) == [500]
    assert await balance_mc(purchase) == 0


async def test_what_stripe_refuses_gives_the_credits_back_and_the_buyer_is_told(here: Here) -> None:
    """All of it was refunded at Stripe, and we have not heard of that yet."""
    purchase, payment = await make_credited()
    refund = await ask_for_refund(purchase)
    await refund_at_stripe(payment, 500)

    await issue(here, refund)

    [row] = await known(purchase)
    assert (row.state, row.failure) == (RefundState.FAILED, "charge_already_refunded")
    assert await balance_mc(purchase) == 500_000
    assert await letters_of(purchase) == ["refund_failed"]
    [job] = await jobs_with_key(f"refund:{refund.id}")
    assert (job.state, job.result) == (JobState.DONE, {"outcome": "stripe-refused"})

    await bring_up_to_date(purchase)  # by Stripe's own event
    assert await balance_mc(purchase) == 0


async def test_a_refund_that_the_bank_sends_back_gives_the_credits_back(here: Here, knobs: None) -> None:
    purchase, _ = await make_credited()
    await turn(refunds="pending")
    refund = await ask_for_refund(purchase)
    await issue(here, refund)
    [row] = await known(purchase)
    assert (row.state, await balance_mc(purchase), await letters_of(purchase)) == (RefundState.PENDING, 0, [])

    await at_stripe("POST", f"/control/stripe/refunds/{row.stripe_refund_id}/finish", {"succeeds": False})
    await bring_up_to_date(purchase)

    [row] = await known(purchase)
    assert (row.state, row.failure) == (RefundState.FAILED, "lost_or_stolen_card")
    assert await balance_mc(purchase) == 500_000
    assert await letters_of(purchase) == ["refund_failed"]


async def test_a_dispute_that_comes_while_a_refund_is_under_way_takes_nothing_twice(here: Here) -> None:
    purchase, payment = await make_credited()
    refund = await ask_for_refund(purchase)
    dispute = await dispute_at_stripe(payment)
    await bring_up_to_date(purchase)
    assert await balance_mc(purchase) == 0

    await close_dispute(dispute, "lost")
    await issue(here, refund)

    [row] = await known(purchase)
    assert (row.state, row.failure) == (RefundState.FAILED, "charge_disputed")
    assert await balance_mc(purchase) == 0
