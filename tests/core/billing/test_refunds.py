"""Refunds that buyers ask for: what they get back, why not, and that it is taken once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.billing import refunds, returns
from core.billing.models import Purchase, RefundState
from core.billing.refunds import NotRefundable, Refundable, Refusal, part_of
from core.credits import ledger
from core.database import transaction
from core.queue import TaskName
from tests.core.billing.kit import (
    ask_for_refund,
    balance_mc,
    bring_up_to_date,
    close_dispute,
    dispute_at_stripe,
    jobs_with_key,
    make_credited,
    make_purchase,
    refund_at_stripe,
    use,
)

pytestmark = pytest.mark.usefixtures("house")


async def verdict(purchase: Purchase, *, now: datetime | None = None) -> Refundable | Refusal:
    async with transaction() as session:
        fresh = await session.get_one(Purchase, purchase.id)
        [one] = await refunds.overviews(session, [fresh], now=now or datetime.now(UTC))
        return one.verdict


async def test_what_was_not_used_is_refundable_and_its_credits_are_taken_at_once() -> None:
    purchase, _ = await make_credited()
    await use(purchase, 123_456)

    assert await verdict(purchase) == Refundable(376, 376_000)
    refund = await ask_for_refund(purchase)

    assert (refund.amount_minor, refund.state, refund.origin) == (376, RefundState.REQUESTED, "buyer")
    assert await balance_mc(purchase) == 544
    [job] = await jobs_with_key(f"refund:{refund.id}")
    assert (job.task, job.payload) == (TaskName.ISSUE_REFUND, {"refund_id": str(refund.id)})
    assert await verdict(purchase) == Refusal.UNDER_WAY


@pytest.mark.parametrize(
    ("currency", "amount_minor", "unused_mc", "expected"),
    [
        ("usd", 500, 500_000, Refundable(500, 500_000)),
        ("usd", 500, 999, Refusal.NOTHING_UNUSED),
        ("usd", 500, 1_999, Refundable(1, 1_000)),
        ("jpy", 800, 499_999, Refundable(799, 499_375)),
        ("kwd", 1_600, 499_999, Refundable(1_590, 496_875)),
        ("isk", 70_000, 499_999, Refundable(69_900, 499_285)),
    ],
)
async def test_a_part_is_rounded_down_to_what_stripe_moves(
    currency: str, amount_minor: int, unused_mc: int, expected: Refundable | Refusal
) -> None:
    purchase = Purchase(currency=currency, amount_minor=amount_minor, credits_mc=500_000, reversed_minor=0)

    part = part_of(purchase, unused_mc=unused_mc)

    assert part == expected
    assert isinstance(part, Refusal) or part.credits_mc <= unused_mc


async def test_fifteen_days_later_it_is_too_late() -> None:
    purchase, _ = await make_credited()
    now = datetime.now(UTC)

    assert isinstance(await verdict(purchase, now=now + timedelta(days=13, hours=23)), Refundable)
    assert await verdict(purchase, now=now + timedelta(days=14, hours=1)) == Refusal.TOO_OLD


async def test_what_is_not_paid_used_up_or_disputed_is_not_refundable() -> None:
    unpaid, _ = await make_purchase()
    used, _ = await make_credited()
    await use(used, 500_000)
    asked, payment = await make_credited()
    inquiry = await dispute_at_stripe(payment, inquiry=True)
    await bring_up_to_date(asked)

    assert await verdict(unpaid) == Refusal.NOT_PAID
    assert await verdict(used) == Refusal.NOTHING_UNUSED
    assert await verdict(asked) == Refusal.DISPUTED
    with pytest.raises(NotRefundable) as refused:
        await ask_for_refund(asked)
    assert refused.value.facts["reason"] == Refusal.DISPUTED
    assert "bank" in str(refused.value)

    await close_dispute(inquiry, "warning_closed")
    await bring_up_to_date(asked)
    assert await verdict(asked) == Refundable(500, 500_000)


async def test_after_a_part_was_refunded_the_rest_is_refundable() -> None:
    purchase, payment = await make_credited()
    await refund_at_stripe(payment, 333)
    await bring_up_to_date(purchase)

    assert await verdict(purchase) == Refundable(167, 167_000)


async def test_ten_that_ask_at_once_get_one_refund() -> None:
    purchase, _ = await make_credited()

    answers = await asyncio.gather(*(ask_for_refund(purchase) for _ in range(10)), return_exceptions=True)

    assert sorted(type(one).__name__ for one in answers) == ["NotRefundable"] * 9 + ["Refund"]
    assert await balance_mc(purchase) == 0


async def test_what_is_held_meanwhile_is_not_refunded() -> None:
    """Holds and a refund at once: whoever comes first, nobody owes anything."""
    purchase, _ = await make_credited()

    async def hold(number: int) -> None:
        async with transaction() as session:
            await ledger.hold(
                session,
                account_id=purchase.account_id,
                at_least_mc=50_000,
                at_most_mc=50_000,
                source=f"test:{purchase.id}:{number}",
            )

    await asyncio.gather(*(hold(number) for number in range(5)), ask_for_refund(purchase), return_exceptions=True)

    async with transaction() as session:
        has = await ledger.balance(session, account_id=purchase.account_id)
        [refund] = (await returns.known(session, purchase.id)).refunds
    assert has.debt_mc == 0
    assert has.held_mc + refund.amount_minor * 1_000 == 500_000


async def test_a_paid_purchase_of_long_ago_is_refused_by_the_request_too() -> None:
    purchase, _ = await make_credited()
    async with transaction() as session:
        long_ago = datetime.now(UTC) - timedelta(days=15)
        await session.execute(update(Purchase).where(Purchase.id == purchase.id).values(paid_at=long_ago))

    with pytest.raises(NotRefundable):
        await ask_for_refund(purchase)

    assert await balance_mc(purchase) == 500_000
