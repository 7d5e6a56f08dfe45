"""Money that goes back: refunds and disputes as Stripe tells of them, and what they take back of the credits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import letters
from core.billing.models import Dispute, Purchase, Refund, RefundState
from core.billing.stripe_facts import DisputeFacts, RefundFacts, takes
from core.credits import ledger
from core.credits.models import EntryKind

CAME_TO_NOTHING = frozenset({RefundState.FAILED, RefundState.CANCELED})


@dataclass
class Returns:
    """What we know of a purchase's refunds and disputes."""

    refunds: list[Refund] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)

    @property
    def refunded_minor(self) -> int:
        """Also what was only asked for: its credits are taken back at once."""
        return sum(one.amount_minor for one in self.refunds if one.state not in CAME_TO_NOTHING)

    @property
    def disputed_minor(self) -> int:
        return sum(one.amount_minor for one in self.disputes if takes(one.status))


async def known(session: AsyncSession, purchase_id: UUID) -> Returns:
    return (await known_of(session, [purchase_id])).get(purchase_id, Returns())


async def known_of(session: AsyncSession, purchase_ids: Sequence[UUID]) -> dict[UUID, Returns]:
    """Those of many purchases, oldest first; one that has none is not in it."""
    found: dict[UUID, Returns] = {}
    refunds = select(Refund).where(Refund.purchase_id.in_(purchase_ids)).order_by(Refund.id)
    for refund in await session.scalars(refunds):
        found.setdefault(refund.purchase_id, Returns()).refunds.append(refund)
    disputes = select(Dispute).where(Dispute.purchase_id.in_(purchase_ids)).order_by(Dispute.created_at, Dispute.id)
    for dispute in await session.scalars(disputes):
        found.setdefault(dispute.purchase_id, Returns()).disputes.append(dispute)
    return found


@dataclass(frozen=True)
class News:
    """What Stripe says and our rows do not; each with its row, if there is one."""

    refunds: list[tuple[Refund | None, RefundFacts]]
    disputes: list[tuple[Dispute | None, DisputeFacts]]

    def __bool__(self) -> bool:
        return bool(self.refunds or self.disputes)


def compare(
    purchase: Purchase, ours: Returns, refunds: Sequence[RefundFacts], disputes: Sequence[DisputeFacts]
) -> News:
    """What is new in Stripe's word. What Stripe does not speak of stays as it is."""
    return News(
        [(row, told) for told in refunds if _differs(row := _row_of(ours, told), told)],
        [(found, said) for said in disputes if _tells_more(found := _dispute_of(ours, said), purchase, said)],
    )


def _row_of(ours: Returns, told: RefundFacts) -> Refund | None:
    """By Stripe's id; or by ours, for one of which we have not heard since it was asked for."""
    for row in ours.refunds:
        if row.stripe_refund_id == told.id or (row.stripe_refund_id is None and str(row.id) == told.ours):
            return row
    return None


def _differs(row: Refund | None, told: RefundFacts) -> bool:
    said = (told.id, told.state, told.amount_minor, told.failure)
    return row is None or (row.stripe_refund_id, row.state, row.amount_minor, row.failure) != said


def _dispute_of(ours: Returns, told: DisputeFacts) -> Dispute | None:
    return next((row for row in ours.disputes if row.id == told.id), None)


def _tells_more(row: Dispute | None, purchase: Purchase, told: DisputeFacts) -> bool:
    said = (told.status, told.reason, _counted(purchase, told))
    return row is None or (row.status, row.reason, row.amount_minor) != said


def _counted(purchase: Purchase, told: DisputeFacts) -> int:
    """What is disputed of a purchase; all of it, where the bank counts in a currency of its own."""
    return told.amount_minor if told.currency == purchase.currency else purchase.amount_minor


async def take_up(session: AsyncSession, purchase: Purchase, ours: Returns, news: News) -> None:
    """Write the news, tell the buyer, and take back, or give back, what follows. The purchase is paid and locked."""
    disputed_before = ours.disputed_minor
    for row, told in news.refunds:
        await _take_refund(session, purchase, ours, row, told)
    for found, said in news.disputes:
        await _take_dispute(session, purchase, ours, found, said)
    await session.flush()
    await reverse(session, purchase, ours, disputed_before=disputed_before)


async def reverse(session: AsyncSession, purchase: Purchase, ours: Returns, *, disputed_before: int) -> None:
    """Have just so many credits be taken back as the refunds and disputes come to.

    Refunds first, then disputes, so that each has a line of its own in the statement. Together they take a purchase
    once, never more.
    """
    refunds, disputes = EntryKind.REFUND, EntryKind.DISPUTE
    for kind, disputed_minor in ((refunds, disputed_before), (disputes, ours.disputed_minor)):
        purchase.reversed_minor = min(purchase.amount_minor, ours.refunded_minor + disputed_minor)
        target_mc = purchase.credits_of(purchase.reversed_minor)
        await ledger.reverse_to(session, source=source(purchase.id), target_mc=target_mc, kind=kind)
    await session.flush()


def source(purchase_id: UUID) -> str:
    """Of the lot that a purchase brought."""
    return f"purchase:{purchase_id}"


async def _take_refund(
    session: AsyncSession, purchase: Purchase, ours: Returns, row: Refund | None, told: RefundFacts
) -> None:
    before = None if row is None else row.state
    if row is None:
        row = Refund(purchase_id=purchase.id, origin="stripe")
        session.add(row)
        ours.refunds.append(row)
    row.stripe_refund_id, row.amount_minor = told.id, told.amount_minor
    row.state, row.failure, row.updated_at = told.state, told.failure, func.now()
    await session.flush()  # the row's id names its letters
    if told.state == RefundState.SUCCEEDED and before != told.state:
        await letters.refund_sent(session, purchase, row)
    if told.state in CAME_TO_NOTHING and before is not None and before not in CAME_TO_NOTHING:
        await letters.refund_failed(session, purchase, row)


async def _take_dispute(
    session: AsyncSession, purchase: Purchase, ours: Returns, row: Dispute | None, told: DisputeFacts
) -> None:
    took = row is not None and takes(row.status)
    if row is None:
        row = Dispute(id=told.id, purchase_id=purchase.id)
        session.add(row)
        ours.disputes.append(row)
    row.amount_minor, row.status, row.reason = _counted(purchase, told), told.status, told.reason
    row.updated_at = func.now()
    if takes(told.status) and not took:
        await letters.dispute_opened(session, purchase, row)
