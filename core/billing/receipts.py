"""Receipts: numbered without gaps, issued and mailed once for each paid purchase, by a job of its own."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.accounts.profile import get_account
from core.billing import bundles
from core.billing.models import Purchase, Receipt, ReceiptCounter
from core.billing.money import format_credits, format_money
from core.errors import ClofyError, Kind, NotFound
from core.mail import deliveries
from core.queue import TaskName


class NotPaid(ClofyError):
    """Only what was paid has a receipt."""

    kind = Kind.CONFLICT


def shown_number(number: int) -> str:
    """A receipt's number as people read it, as "CC-000123"."""
    return f"CC-{number:06}"


async def issue_later(session: AsyncSession, purchase_id: UUID) -> None:
    """Have a worker issue the receipt: whoever credits does not wait for the one lock that numbers need."""
    payload = {"purchase_id": str(purchase_id)}
    await jobs.enqueue(session, TaskName.ISSUE_RECEIPT, payload=payload, key=f"receipt:{purchase_id}")


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
            "number": counter.last,
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
