"""Receipts: numbered without gaps, issued and mailed once for each paid purchase, by a job of its own; and shown."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.accounts.profile import get_account
from core.billing import bundles
from core.billing.models import Dispute, Purchase, Receipt, ReceiptCounter, Refund, RefundState
from core.billing.money import format_credits, format_money
from core.billing.receipt_pdf import Returned, Sold
from core.direct import Unit
from core.errors import ClofyError, Kind, NotFound
from core.mail import deliveries
from core.queue import TaskName


class NotPaid(ClofyError):
    """Only what was paid has a receipt."""

    kind = Kind.CONFLICT


def shown_number(number: int) -> str:
    """A receipt's number as people read it, as "CC-000123"."""
    return f"CC-{number:06}"


def number_of(shown: str) -> int:
    """The number that is shown so. Raises NotFound for what no number looks like."""
    digits = shown.removeprefix("CC-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19 and shown == shown_number(int(digits))):
        raise NotFound(receipt=shown[:30])
    return int(digits)


async def issue_later(unit: Unit, purchase_id: UUID) -> None:
    """Have a worker issue the receipt: whoever credits does not wait for the one lock that numbers need."""
    payload = {"purchase_id": str(purchase_id)}
    await jobs.enqueue(unit, TaskName.ISSUE_RECEIPT, payload=payload, key=f"receipt:{purchase_id}")


async def issue(session: AsyncSession, purchase_id: UUID) -> int:
    """Give a paid purchase the next number and mail its receipt; one that has a receipt keeps it.

    Whoever comes at the same time waits for the counter's row. A transaction that comes to nothing gives its number
    back, so there is no gap. Returns the number. Raises NotFound, NotPaid.
    """
    counter = (await session.scalars(select(ReceiptCounter).with_for_update())).one()
    issued = await session.scalar(select(Receipt.number).where(Receipt.purchase_id == purchase_id))
    if issued is not None:
        return issued
    purchase = await session.get(Purchase, purchase_id)
    if purchase is None:
        raise NotFound(purchase=purchase_id)
    if purchase.paid_at is None:
        raise NotPaid(purchase=purchase_id)
    buyer = await get_account(session, account_id=purchase.account_id)
    counter.last += 1
    session.add(Receipt(number=counter.last, purchase_id=purchase_id, buyer_name=buyer.name, buyer_email=buyer.email))
    await deliveries.send(
        session,
        key=f"receipt:{purchase_id}",
        account_id=purchase.account_id,
        recipient=buyer.email,
        template="receipt",
        facts={
            "name": buyer.name,
            "shown_number": shown_number(counter.last),
            "bundle_name": bundles.name_of(purchase.bundle),
            "credits": format_credits(purchase.credits_mc),
            "amount": format_money(purchase.amount_minor, purchase.currency),
            "purchase_id": str(purchase_id),
            "paid_on": f"{purchase.paid_at.day} {purchase.paid_at:%B %Y}",
        },
    )
    await session.flush()
    return counter.last


async def page(
    session: AsyncSession, *, account_id: UUID, after: int | None = None, limit: int = 50
) -> Sequence[tuple[Receipt, Purchase]]:
    """The account's receipts, newest first, behind the one numbered `after`."""
    mine = select(Receipt, Purchase).join(Purchase, Purchase.id == Receipt.purchase_id)
    query = mine.where(Purchase.account_id == account_id).order_by(Receipt.number.desc()).limit(limit)
    if after is not None:
        query = query.where(Receipt.number < after)
    return [(receipt, purchase) for receipt, purchase in await session.execute(query)]


async def sold(session: AsyncSession, number: int, *, account_id: UUID) -> Sold:
    """What the account's own receipt says, with what went back until now. Raises NotFound for anything else."""
    mine = select(Receipt, Purchase).join(Purchase, Purchase.id == Receipt.purchase_id)
    found = await session.execute(mine.where(Receipt.number == number, Purchase.account_id == account_id))
    row = found.one_or_none()
    if row is None:
        raise NotFound(receipt=number)
    receipt, purchase = row
    return Sold(
        shown_number=shown_number(receipt.number),
        issued_at=receipt.issued_at,
        paid_at=purchase.paid_at or receipt.issued_at,
        buyer_name=receipt.buyer_name,
        buyer_email=receipt.buyer_email,
        bundle_name=bundles.name_of(purchase.bundle),
        credits_mc=purchase.credits_mc,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        payment=purchase.stripe_payment_intent_id or purchase.stripe_session_id or "",
        purchase=str(purchase.id),
        returned=await _returned(session, purchase.id),
    )


GOES_BACK = {
    RefundState.REQUESTED: "Refund on its way",
    RefundState.PENDING: "Refund on its way",
    RefundState.SUCCEEDED: "Refunded",
}


async def _returned(session: AsyncSession, purchase_id: UUID) -> tuple[Returned, ...]:
    refunds = select(Refund).where(Refund.purchase_id == purchase_id, Refund.state.in_(GOES_BACK))
    disputes = select(Dispute).where(Dispute.purchase_id == purchase_id, Dispute.status == "lost")
    returned = [
        Returned(one.created_at, GOES_BACK[RefundState(one.state)], one.amount_minor)
        for one in await session.scalars(refunds)
    ]
    returned += [
        Returned(one.created_at, "Taken back by your bank", one.amount_minor) for one in await session.scalars(disputes)
    ]
    return tuple(sorted(returned, key=lambda one: (one.on, one.what, one.amount_minor)))
