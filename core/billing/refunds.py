"""Refunds that a buyer asks for: of the unused part of a purchase, within fourteen days, without asking anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.audit import NOBODY, Action, Caller
from core.billing import letters, money, returns, taking_up
from core.billing.models import Purchase, PurchaseState, Receipt, Refund, RefundState
from core.billing.returns import Returns
from core.billing.stripe_facts import is_open
from core.billing.taking_up import Known
from core.credits import ledger
from core.credits.models import EntryKind
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState, on_end
from core.queue import TaskName
from core.telemetry import log

WINDOW = timedelta(days=14)
UNDER_WAY = frozenset({RefundState.REQUESTED, RefundState.PENDING})

logger = log(__name__)


class Refusal(StrEnum):
    """Why a purchase cannot be refunded by its buyer."""

    NOT_PAID = "not-paid"
    TOO_OLD = "too-old"
    DISPUTED = "disputed"
    UNDER_WAY = "under-way"
    NOTHING_UNUSED = "nothing-unused"

    @property
    def sentence(self) -> str:
        return SENTENCES[self]


SENTENCES = {
    Refusal.NOT_PAID: "This purchase was not paid.",
    Refusal.TOO_OLD: f"Refunds are possible for {WINDOW.days} days after a purchase was paid.",
    Refusal.DISPUTED: "Your bank questions this payment, or has taken it back. The bank decides what is paid back.",
    Refusal.UNDER_WAY: "A refund of this purchase is under way.",
    Refusal.NOTHING_UNUSED: "All credits of this purchase were used or refunded, or an answer is using them right now.",
}


@dataclass(frozen=True)
class Refundable:
    """What a buyer gets back of a purchase now, and how many credits are taken for it."""

    amount_minor: int
    credits_mc: int


class NotRefundable(ClofyError):
    """This purchase cannot be refunded now."""

    kind = Kind.CONFLICT
    shown = ("reason",)

    def __init__(self, reason: Refusal, **facts: object) -> None:
        super().__init__(reason=reason, **facts)
        self.args = (reason.sentence,)


def refusal_of(purchase: Purchase, known: Returns, *, now: datetime) -> Refusal | None:
    """Why this purchase cannot be refunded, whatever is left of it."""
    if purchase.state != PurchaseState.PAID or purchase.paid_at is None:
        return Refusal.NOT_PAID
    if any(is_open(one.status) or one.status == "lost" for one in known.disputes):
        return Refusal.DISPUTED
    if any(one.state in UNDER_WAY for one in known.refunds):
        return Refusal.UNDER_WAY
    return Refusal.TOO_OLD if purchase.paid_at < now - WINDOW else None


def part_of(purchase: Purchase, *, unused_mc: int) -> Refundable | Refusal:
    """The money that unused credits of a purchase are worth, in whole units that Stripe moves, never more than they."""
    worth = min(
        purchase.amount_minor * unused_mc // purchase.credits_mc, purchase.amount_minor - purchase.reversed_minor
    )
    amount_minor = worth - worth % money.step(purchase.currency)
    if amount_minor <= 0:
        return Refusal.NOTHING_UNUSED
    after = purchase.credits_of(purchase.reversed_minor + amount_minor)
    return Refundable(amount_minor, after - purchase.credits_of(purchase.reversed_minor))


@dataclass(frozen=True)
class Overview:
    """A purchase with all that came of it, and what its buyer may still have back."""

    purchase: Purchase
    returns: Returns
    receipt: int | None  # its number
    verdict: Refundable | Refusal


async def overviews(session: AsyncSession, purchases: Sequence[Purchase], *, now: datetime) -> list[Overview]:
    ids = [one.id for one in purchases]
    all_returns = await returns.known_of(session, ids)
    numbered = await session.execute(select(Receipt.purchase_id, Receipt.number).where(Receipt.purchase_id.in_(ids)))
    receipts = {purchase_id: number for purchase_id, number in numbered}  # noqa: C416  # rows, not pairs
    refusals = {one.id: refusal_of(one, all_returns.get(one.id, Returns()), now=now) for one in purchases}
    sources = [returns.source(one_id) for one_id, refusal in refusals.items() if refusal is None]
    lots = await ledger.lots(session, sources) if sources else {}
    return [
        Overview(
            one,
            all_returns.get(one.id, Returns()),
            receipts.get(one.id),
            refusals[one.id] or part_of(one, unused_mc=lots[returns.source(one.id)].left_mc),
        )
        for one in purchases
    ]


async def lock(session: AsyncSession, purchase_id: UUID, *, account_id: UUID) -> Purchase:
    """The account's own purchase, which nobody else changes until the end of the transaction. Raises NotFound."""
    mine = select(Purchase).where(Purchase.id == purchase_id, Purchase.account_id == account_id)
    purchase = await session.scalar(mine.with_for_update())
    if purchase is None:
        raise NotFound(purchase=purchase_id)
    return purchase


async def request(session: AsyncSession, purchase: Purchase, *, now: datetime, caller: Caller = NOBODY) -> Refund:
    """Give back the unused part of a locked purchase: the credits at once, the money by a job. Raises NotRefundable."""
    known = await returns.known(session, purchase.id)
    if (refusal := refusal_of(purchase, known, now=now)) is not None:
        raise NotRefundable(refusal, purchase=purchase.id)
    lot_source = returns.source(purchase.id)
    # It changes nothing, and holds the account: what is unused now is unused when its credits are taken.
    target_mc = purchase.credits_of(purchase.reversed_minor)
    await ledger.reverse_to(session, source=lot_source, target_mc=target_mc, kind=EntryKind.REFUND)
    lots = await ledger.lots(session, [lot_source])
    part = part_of(purchase, unused_mc=lots[lot_source].left_mc)
    if isinstance(part, Refusal):
        raise NotRefundable(part, purchase=purchase.id)
    refund = Refund(
        purchase_id=purchase.id, origin="buyer", amount_minor=part.amount_minor, state=RefundState.REQUESTED
    )
    session.add(refund)
    await session.flush()
    known.refunds.append(refund)
    await returns.reverse(session, purchase, known, disputed_before=known.disputed_minor)
    about = f"refund:{refund.id}"
    await audit.note(session, Action.REFUND_MADE, account_id=purchase.account_id, caller=caller, about=about)
    await jobs.enqueue(session, TaskName.ISSUE_REFUND, payload={"refund_id": str(refund.id)}, key=f"refund:{refund.id}")
    return refund


@dataclass(frozen=True)
class Order:
    """A refund of which Stripe has not told us yet."""

    known: Known
    payment_intent: str
    amount_minor: int


async def order(session: AsyncSession, refund_id: UUID) -> Order | None:
    """What Stripe is to be asked for; None if that is done. Raises NotFound."""
    refund = await session.get(Refund, refund_id, populate_existing=True)
    if refund is None:
        raise NotFound(refund=refund_id)
    if refund.state != RefundState.REQUESTED:
        return None
    purchase = await session.get_one(Purchase, refund.purchase_id)
    known = await taking_up.know(session, purchase.id)
    assert known is not None
    assert purchase.stripe_payment_intent_id is not None
    return Order(known, purchase.stripe_payment_intent_id, refund.amount_minor)


async def refused(session: AsyncSession, refund_id: UUID, *, reason: str) -> None:
    """Stripe does not give the money back: the credits are the buyer's again, and the buyer is told."""
    refund = await session.get_one(Refund, refund_id)
    purchase = await session.get_one(Purchase, refund.purchase_id, with_for_update=True)
    await session.refresh(refund)
    if refund.state != RefundState.REQUESTED:
        return
    refund.state, refund.failure, refund.updated_at = RefundState.FAILED, reason, func.now()
    await session.flush()
    known = await returns.known(session, purchase.id)
    await returns.reverse(session, purchase, known, disputed_before=known.disputed_minor)
    await letters.refund_failed(session, purchase, refund)
    logger.warning("refund_refused", purchase=str(purchase.id), refund=str(refund_id), reason=reason)


@on_end(TaskName.ISSUE_REFUND)
async def issuing_ended(_session: AsyncSession, job: Job, _outcome: JobState, reason: str) -> None:
    """Nobody knows whether Stripe gave the money back: the credits stay taken until an operator looks."""
    logger.error("refund_not_issued", refund=job.payload["refund_id"], reason=reason)
