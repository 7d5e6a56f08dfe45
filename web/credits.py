"""What one has, and the statement of how it came and went."""

from typing import Any
from uuid import UUID

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations import queries
from core.credits import ledger
from core.database import transaction
from web.inputs import last_number
from web.openapi import AFTER_NUMBER, answers, query
from web.session import signed_in
from web.shapes import CreditFacts, Entries

blueprint = Blueprint("credits", __name__, url_prefix="/api/credits")

PAGE = 50


def shown(balance: ledger.Balance) -> dict[str, int]:
    return {
        "balance_mc": balance.balance_mc,
        "held_mc": balance.held_mc,
        "available_mc": balance.available_mc,
        "debt_mc": balance.debt_mc,
    }


@blueprint.get("")
@signed_in
@answers(CreditFacts)
async def show() -> ResponseReturnValue:
    async with transaction() as session:
        return shown(await ledger.balance(session, account_id=g.account.id))


@blueprint.get("/entries")
@signed_in
@query(after=AFTER_NUMBER)
@answers(Entries)
async def entries() -> ResponseReturnValue:
    """The statement, newest first; page by `?after=` the `next` of the page before."""
    after = last_number(request.args.get("after"))
    async with transaction() as session:
        return await statement(session, account_id=g.account.id, after=after)


async def statement(session: AsyncSession, *, account_id: UUID, after: int | None = None) -> dict[str, Any]:
    """A page of the statement: each line says what, when, how much, the balance after, and where to look."""
    lines = await ledger.entries(session, account_id=account_id, after=after, limit=PAGE)
    answers = [UUID(line.source.partition(":")[2]) for line in lines if line.source.startswith("generation:")]
    causes = await queries.causes(session, answers) if answers else {}
    return {
        "entries": [
            {
                "id": str(line.id),
                "created_at": line.created_at.isoformat(),
                "kind": line.kind,
                "amount_mc": line.amount_mc,
                "balance_after_mc": line.balance_after_mc,
                **_cause(line.source, causes),
            }
            for line in lines
        ],
        "next": str(lines[-1].id) if len(lines) == PAGE else None,
    }


def _cause(source: str, causes: dict[UUID, dict[str, str]]) -> dict[str, str | None]:
    kind, _, name = source.partition(":")
    if kind == "generation":
        return {**(causes.get(UUID(name)) or {"what": "Answer", "link": None})}
    if kind == "purchase":
        return {"what": "Credits bought", "link": f"/credits/return?purchase={name}"}
    return {"what": "Credits added", "link": None}
