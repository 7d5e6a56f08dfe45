"""Stripe's books and ours compared. Other tests leave purchases behind: each test looks at its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from core.billing import reconciliation
from core.billing.models import Dispute, Purchase, PurchaseState, Reconciliation, Refund
from core.billing.stripe_api import StripeUnavailable
from core.credits import ledger
from core.credits.models import CreditEntry
from core.database import transaction
from tests.core.billing.kit import (
    at_stripe,
    balance_mc,
    dispute_at_stripe,
    make_credited,
    make_otherwise,
    make_paid,
    make_purchase,
    pay,
    refund_at_stripe,
    turn,
)

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture(autouse=True)
async def _webhooks_are_off() -> AsyncIterator[None]:
    await turn(webhooks="off")
    yield
    await turn()


async def reconcile() -> Reconciliation:
    return await reconciliation.reconcile(now=datetime.now(UTC))


def about(report: Reconciliation, *ours: Purchase) -> list[dict[str, Any]]:
    ids = {str(one.id) for one in ours}
    return [one for one in report.findings if one["purchase"] in ids]


def found(report: Reconciliation, *ours: Purchase) -> list[tuple[str, bool]]:
    return sorted((one["class"], one["healed"]) for one in about(report, *ours))


async def change(purchase: Purchase, **values: Any) -> None:
    """Our row, as it may not become."""
    async with transaction() as session:
        await session.execute(update(Purchase).where(Purchase.id == purchase.id).values(**values))


async def rows() -> dict[str, int]:
    """How many there are of all that a comparison may write."""
    async with transaction() as session:
        counts = {
            "entries": await session.scalar(select(func.count()).select_from(CreditEntry)),
            "refunds": await session.scalar(select(func.count()).select_from(Refund)),
            "disputes": await session.scalar(select(func.count()).select_from(Dispute)),
            "taken back": await session.scalar(select(func.sum(Purchase.reversed_minor))),
            "paid": await session.scalar(select(func.count()).where(Purchase.state == PurchaseState.PAID)),
        }
    return {name: int(count or 0) for name, count in counts.items()}


async def test_a_day_without_webhooks_is_right_after_one_run_and_a_second_changes_nothing() -> None:
    sold = await asyncio.gather(*(make_paid() for _ in range(20)))
    payments = [checkout.payment_intent or "" for _, checkout in sold]
    for number, payment in enumerate(payments[:5]):
        await refund_at_stripe(payment, 100 * (number + 1))
    await dispute_at_stripe(payments[5])

    first = await reconcile()
    after_first = await rows()
    second = await reconcile()

    balances = [await balance_mc(purchase) for purchase, _ in sold]
    assert balances == [400_000, 300_000, 200_000, 100_000, 0, 0, *[500_000] * 14]
    ours = [purchase for purchase, _ in sold]
    assert found(first, *ours) == [("paid_not_credited", True)] * 20
    assert second.healed == 0
    assert about(second, *ours) == []
    assert await rows() == after_first
    assert second.looked_at >= 26


async def test_refunds_disputes_and_ends_that_we_missed_are_taken_up() -> None:
    refunded, payment = await make_credited()
    await refund_at_stripe(payment, 200)
    disputed, payment = await make_credited()
    await dispute_at_stripe(payment)
    expired, checkout = await make_purchase()
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/expire")
    failed, checkout = await make_purchase()
    await pay(checkout.id, "delayed")
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": False})
    waiting, _ = await make_purchase()

    report = await reconcile()

    assert found(report, refunded, disputed) == [("returns_missed", True)] * 2
    assert found(report, expired, failed) == [("end_missed", True)] * 2
    assert about(report, waiting) == []
    assert [await balance_mc(one) for one in (refunded, disputed)] == [300_000, 0]


async def test_the_end_of_a_dispute_is_taken_up_however_old_it_is() -> None:
    purchase, payment = await make_credited()
    dispute = await dispute_at_stripe(payment)
    await reconcile()
    await at_stripe("POST", f"/control/stripe/disputes/{dispute}/close", {"status": "won"})

    in_a_year = datetime.now(UTC) + timedelta(days=365)
    report = await reconciliation.reconcile(now=in_a_year)

    assert found(report, purchase) == [("returns_missed", True)]
    assert await balance_mc(purchase) == 500_000


async def test_a_run_by_a_clock_that_was_ahead_leaves_no_gap() -> None:
    await reconciliation.reconcile(now=datetime.now(UTC) + timedelta(days=10))
    purchase, _ = await make_paid()

    report = await reconcile()

    assert report.since < datetime.now(UTC)
    assert found(report, purchase) == [("paid_not_credited", True)]


async def test_what_was_credited_and_not_paid_is_an_alarm_each_run_and_left_alone(
    alarms: Callable[[], list[dict[str, Any]]],
) -> None:
    unpaid, _ = await make_purchase()
    await credit_by_mistake(unpaid)
    nameless, _ = await make_purchase()
    await credit_by_mistake(nameless)
    await change(nameless, stripe_session_id=None)
    gone, _ = await make_purchase()
    await credit_by_mistake(gone)
    await change(gone, stripe_session_id=f"cs_test_{uuid4().hex}")

    for _ in range(2):
        alarms()
        report, told = await reconcile(), alarms()
        assert found(report, unpaid, nameless, gone) == [("credited_not_paid", False)] * 3
        for purchase in (unpaid, nameless, gone):
            alerts = [one for one in told if one.get("purchase") == str(purchase.id)]
            assert [one["event"] for one in alerts] == ["books_differ"]

    assert await balance_mc(unpaid) == 500_000


async def test_another_amount_or_currency_is_an_alarm_and_grants_nothing(
    alarms: Callable[[], list[dict[str, Any]]],
) -> None:
    (cheap, _), (foreign, _) = await make_otherwise(amount_minor=1), await make_otherwise(currency="eur")
    doubtful, _ = await make_paid()
    await change(doubtful, livemode=True)

    report, told = await reconcile(), alarms()

    [of_cheap], [of_foreign] = about(report, cheap), about(report, foreign)
    assert (of_cheap["class"], of_cheap["ours"], of_cheap["theirs"]) == ("amount", 500, 1)
    assert (of_foreign["class"], of_foreign["ours"], of_foreign["theirs"]) == ("currency", "usd", "eur")
    assert found(report, doubtful) == [("otherwise_unequal", False)]
    for purchase in (cheap, foreign, doubtful):
        assert await balance_mc(purchase) == 0
        alerts = [one for one in told if one["event"] == "books_differ" and one["purchase"] == str(purchase.id)]
        assert len(alerts) == 1


async def test_without_stripe_nothing_is_reported_and_the_next_run_goes_as_far_back() -> None:
    purchase, _ = await make_paid()
    await turn(webhooks="off", fail={"status": 503, "times": 0, "match": "disputes"})
    async with transaction() as session:
        before = await session.scalar(select(func.count()).select_from(Reconciliation))

    with pytest.raises(StripeUnavailable):
        await reconcile()

    async with transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Reconciliation)) == before
    assert await balance_mc(purchase) == 500_000  # what it had come to by then stays


async def credit_by_mistake(purchase: Purchase) -> None:
    async with transaction() as session:
        await ledger.grant(
            session,
            account_id=purchase.account_id,
            amount_mc=purchase.credits_mc,
            source=f"purchase:{purchase.id}",
            kind="purchase",
        )
    await change(purchase, state=PurchaseState.PAID, paid_at=func.now())
