"""What a buyer is written about money, once for each occasion; the receipt has its own job (receipts.py)."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.profile import get_account
from core.billing import bundles
from core.billing.models import Dispute, Purchase, Refund
from core.billing.money import format_credits, format_money
from core.mail import deliveries


async def refund_sent(session: AsyncSession, purchase: Purchase, refund: Refund) -> None:
    await _send(session, purchase, f"refund:{refund.id}:sent", "refund_sent", refund.amount_minor)


async def refund_failed(session: AsyncSession, purchase: Purchase, refund: Refund) -> None:
    await _send(session, purchase, f"refund:{refund.id}:failed", "refund_failed", refund.amount_minor)


async def payment_failed(session: AsyncSession, purchase: Purchase) -> None:
    await _send(session, purchase, f"purchase:{purchase.id}:failed", "payment_failed", purchase.amount_minor)


async def dispute_opened(session: AsyncSession, purchase: Purchase, dispute: Dispute) -> None:
    amount_minor = min(dispute.amount_minor, purchase.amount_minor)
    await _send(session, purchase, f"dispute:{dispute.id}:opened", "dispute_opened", amount_minor)


async def _send(session: AsyncSession, purchase: Purchase, key: str, template: str, amount_minor: int) -> None:
    buyer = await get_account(session, account_id=purchase.account_id)
    facts: dict[str, Any] = {
        "name": buyer.name,
        "bundle_name": bundles.name_of(purchase.bundle),
        "amount": format_money(amount_minor, purchase.currency),
        "credits": format_credits(purchase.credits_of(amount_minor)),
        "purchase_id": str(purchase.id),
    }
    await deliveries.send(
        session, key=key, account_id=purchase.account_id, recipient=buyer.email, template=template, facts=facts
    )
