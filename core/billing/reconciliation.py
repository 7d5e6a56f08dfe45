"""Stripe's books and ours compared, both ways. What we missed of Stripe's is put right; the rest is alarmed.

Every webhook of a day may be lost: one comparison is enough, and a second one changes nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select

from core.billing import returns, stripe_api, taking_up
from core.billing.models import Dispute, Purchase, PurchaseState, Reconciliation, Refund
from core.billing.refunds import UNDER_WAY
from core.billing.stripe_api import UnknownCheckout
from core.billing.stripe_facts import DECIDED, Checkout, DisputeFacts, RefundFacts
from core.billing.taking_up import CHANGES, MismatchedPayment, Outcome
from core.database import transaction
from core.telemetry import log

OVERLAP = timedelta(days=3)  # Stripe's lists, and a delayed payment's end, may come later than what they are about
LONGEST = timedelta(days=30)  # also how long a refund may fail afterwards, so refunds and disputes are read that far
BATCH = 100

T = TypeVar("T")
logger = log(__name__)


class Found(StrEnum):
    """What a comparison may find of a purchase."""

    PAID_NOT_CREDITED = "paid_not_credited"
    RETURNS_MISSED = "returns_missed"  # a refund or a dispute
    END_MISSED = "end_missed"  # a checkout that expired, or whose payment failed
    CREDITED_NOT_PAID = "credited_not_paid"
    AMOUNT = "amount"
    CURRENCY = "currency"
    OTHERWISE_UNEQUAL = "otherwise_unequal"  # as paid in another mode, or for other lines


HEALED = {
    Outcome.CREDITED: Found.PAID_NOT_CREDITED,
    Outcome.RETURNED: Found.RETURNS_MISSED,
    Outcome.EXPIRED: Found.END_MISSED,
    Outcome.FAILED: Found.END_MISSED,
}


@dataclass
class _Comparison:
    """One run: what it has seen, and what it has found."""

    looked_at: int = 0
    healed: int = 0
    seen: set[str] = field(default_factory=set)  # Checkout sessions that Stripe's list had
    findings: list[dict[str, Any]] = field(default_factory=list)
    alarmed: set[UUID] = field(default_factory=set)

    async def heal(self, purchase: Purchase) -> None:
        """Ask Stripe about a purchase that may be behind; what that brings is found."""
        async with transaction() as session:
            known = await taking_up.know(session, purchase.id)
        if known is None:
            return
        try:
            outcome = await taking_up.bring_up_to_date(known)
        except MismatchedPayment as error:
            self.alarm(purchase, Found.OTHERWISE_UNEQUAL, unequal=error.facts["unequal"])
        except UnknownCheckout:
            if purchase.state == PurchaseState.PAID:
                self.alarm(purchase, Found.CREDITED_NOT_PAID)
        else:
            if outcome in CHANGES:
                self.healed += 1
                self.findings.append({"class": HEALED[outcome], "purchase": str(purchase.id), "healed": True})

    def alarm(self, purchase: Purchase, found: Found, **facts: object) -> None:
        if purchase.id in self.alarmed:
            return
        self.alarmed.add(purchase.id)
        finding = {"class": found, "purchase": str(purchase.id), "healed": False, **facts}
        self.findings.append(finding)
        logger.error("books_differ", found=found, purchase=str(purchase.id), **facts)


async def reconcile(*, now: datetime) -> Reconciliation:
    """Compare, heal, and keep a report. Raises StripeUnavailable, and then nothing is reported: the next run goes
    as far back as this one would have. A report of a clock that ran ahead says nothing of the days until then.
    """
    async with transaction() as session:
        before = select(func.max(Reconciliation.started_at)).where(Reconciliation.started_at <= now)
        last = await session.scalar(before)
    since = max(last - OVERLAP, now - LONGEST) if last else now - LONGEST
    run = _Comparison()
    await _by_sessions(run, since)
    await _by_refunds(run, now - LONGEST)
    await _by_disputes(run, now - LONGEST)
    await _by_ours(run, since, now - LONGEST)
    report = Reconciliation(
        since=since, started_at=now, looked_at=run.looked_at, healed=run.healed, findings=run.findings
    )
    async with transaction() as session:
        session.add(report)
    return report


async def _by_sessions(run: _Comparison, since: datetime) -> None:
    async for checkouts in _batches(stripe_api.sessions_since(since)):
        run.looked_at += len(checkouts)
        run.seen |= {one.id for one in checkouts}
        ours = await _purchases(Purchase.stripe_session_id.in_([one.id for one in checkouts]))
        by_session = {one.stripe_session_id: one for one in ours}
        for checkout in checkouts:
            purchase = by_session.get(checkout.id)
            if purchase is not None and not _alarming(run, purchase, checkout) and _is_behind(purchase, checkout):
                await run.heal(purchase)


def _is_behind(purchase: Purchase, checkout: Checkout) -> bool:
    if purchase.state == PurchaseState.PAID:
        return False
    return checkout.payment_status != "unpaid" or (purchase.state == PurchaseState.OPEN and checkout.status != "open")


def _alarming(run: _Comparison, purchase: Purchase, checkout: Checkout) -> bool:
    """Alarm what no asking puts right: we credited what was not paid, or something else was paid than we sold."""
    if purchase.state == PurchaseState.PAID and checkout.payment_status != "paid":
        run.alarm(purchase, Found.CREDITED_NOT_PAID)
    elif purchase.state != PurchaseState.PAID and checkout.payment_status == "unpaid":
        return False
    elif purchase.currency != checkout.currency:
        run.alarm(purchase, Found.CURRENCY, ours=purchase.currency, theirs=checkout.currency)
    elif purchase.amount_minor != checkout.amount_minor:
        run.alarm(purchase, Found.AMOUNT, ours=purchase.amount_minor, theirs=checkout.amount_minor)
    else:
        return False
    return True


async def _by_refunds(run: _Comparison, since: datetime) -> None:
    async for refunds in _batches(stripe_api.refunds_since(since)):
        await _by_returns(run, refunds, [])


async def _by_disputes(run: _Comparison, since: datetime) -> None:
    async for disputes in _batches(stripe_api.disputes_since(since)):
        await _by_returns(run, [], disputes)


async def _by_returns(run: _Comparison, refunds: list[RefundFacts], disputes: list[DisputeFacts]) -> None:
    told: list[RefundFacts | DisputeFacts] = [*refunds, *disputes]
    run.looked_at += len(told)
    async with transaction() as session:
        payments = [one.payment_intent for one in told if one.payment_intent]
        which = Purchase.stripe_payment_intent_id.in_(payments)
        purchases = (await session.scalars(select(Purchase).where(which))).all()
        known = await returns.known_of(session, [one.id for one in purchases])
    for purchase in purchases:
        its = purchase.stripe_payment_intent_id
        news = returns.compare(
            purchase,
            known.get(purchase.id, returns.Returns()),
            [one for one in refunds if one.payment_intent == its],
            [one for one in disputes if one.payment_intent == its],
        )
        if news:
            await run.heal(purchase)


async def _by_ours(run: _Comparison, since: datetime, longest: datetime) -> None:
    """From our side: what waits or was credited, if Stripe's list did not have it; and what is on its way back."""
    waits = and_(Purchase.state == PurchaseState.OPEN, Purchase.created_at >= longest)
    for purchase in await _purchases(waits, Purchase.stripe_session_id.is_not(None)):
        run.looked_at += 1
        if purchase.stripe_session_id not in run.seen:
            await run.heal(purchase)
    for purchase in await _purchases(Purchase.state == PurchaseState.PAID, Purchase.paid_at >= since):
        run.looked_at += 1
        if purchase.stripe_session_id not in run.seen:
            await _check_payment(run, purchase)
    refunded = Purchase.id.in_(select(Refund.purchase_id).where(Refund.state.in_(UNDER_WAY)))
    disputed = Purchase.id.in_(select(Dispute.purchase_id).where(Dispute.status.not_in(DECIDED)))
    for purchase in await _purchases(or_(refunded, disputed)):
        run.looked_at += 1
        await run.heal(purchase)


async def _check_payment(run: _Comparison, purchase: Purchase) -> None:
    if purchase.stripe_session_id is None:
        run.alarm(purchase, Found.CREDITED_NOT_PAID)
        return
    try:
        _alarming(run, purchase, await stripe_api.fetch_session(purchase.stripe_session_id))
    except UnknownCheckout:
        run.alarm(purchase, Found.CREDITED_NOT_PAID)


async def _purchases(*which: ColumnElement[bool]) -> Sequence[Purchase]:
    async with transaction() as session:
        return (await session.scalars(select(Purchase).where(*which).order_by(Purchase.id))).all()


async def _batches(all_of_them: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    batch: list[T] = []
    async for one in all_of_them:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
