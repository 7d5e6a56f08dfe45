"""Receipts: the list of one's own, and each as PDF."""

import asyncio
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue

from core import limits
from core.billing import bundles, receipt_pdf, receipts
from core.billing.models import Purchase, Receipt
from core.billing.money import format_money
from core.database import transaction
from core.settings import settings
from web.inputs import last_number
from web.openapi import AFTER_NUMBER, answers, query
from web.session import signed_in
from web.shapes import Receipts

blueprint = Blueprint("receipts", __name__, url_prefix="/api/receipts")

PAGE = 50


@blueprint.get("")
@signed_in
@query(after=AFTER_NUMBER)
@answers(Receipts)
async def index() -> ResponseReturnValue:
    """One's own receipts, newest first; page by `?after=` the `next` of the page before."""
    return await page(account_id=g.account.id, after=last_number(request.args.get("after")))


async def page(*, account_id: UUID, after: int | None) -> dict[str, Any]:
    """A page of receipts, as the API and the pages show it."""
    async with transaction() as session:
        found = await receipts.page(session, account_id=account_id, after=after, limit=PAGE)
    return {
        "receipts": [shown(receipt, purchase) for receipt, purchase in found],
        "next": str(found[-1][0].number) if len(found) == PAGE else None,
    }


def shown(receipt: Receipt, purchase: Purchase) -> dict[str, Any]:
    return {
        "number": receipts.shown_number(receipt.number),
        "purchase": purchase.id,
        "issued_at": receipt.issued_at,
        "bundle_name": bundles.name_of(purchase.bundle),
        "credits_mc": purchase.credits_mc,
        "amount": format_money(purchase.amount_minor, purchase.currency),
        "returned": format_money(purchase.reversed_minor, purchase.currency) if purchase.reversed_minor else None,
        "pdf": f"/api/receipts/{receipts.shown_number(receipt.number)}.pdf",
    }


@blueprint.get("/<number>.pdf")
@signed_in
@answers("application/pdf", problems=(429,))
async def pdf(number: str) -> ResponseReturnValue:
    """A receipt of one's own, with what was returned until now."""
    await limits.admit(limits.PAPERS, account=str(g.account.id), ip="")
    async with transaction() as session:
        sold = await receipts.sold(session, receipts.number_of(number), account_id=g.account.id)
    content = await asyncio.to_thread(receipt_pdf.render, sold, seller=settings().seller)
    disposition = f'attachment; filename="{sold.shown_number}.pdf"'
    return Response(content, content_type="application/pdf", headers={"Content-Disposition": disposition})
