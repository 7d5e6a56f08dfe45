"""What one has, and the statement of how it came and went: in pages, as CSV, by months."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core import limits
from core.consultations import queries
from core.credits import ledger
from core.credits import statement as statements
from core.credits.models import CreditEntry, EntryKind
from core.credits.statement import EVERYTHING, Filter, Month, Reason
from core.database import transaction
from core.errors import InvalidInput
from web.csv_lines import CSV, csv_line, plain_credits
from web.inputs import last_number
from web.openapi import AFTER_NUMBER, answers, query
from web.session import signed_in
from web.shapes import CreditFacts, Entries, Months

blueprint = Blueprint("credits", __name__, url_prefix="/api/credits")

PAGE = 50
CSV_PAGE = 500  # lines that are read at once
DAY = {"anyOf": [{"const": ""}, {"type": "string", "format": "date"}]}
FILTER = {"kind": {"enum": ["", *EntryKind]}, "from": DAY, "to": DAY}

WHAT = {
    EntryKind.PURCHASE: "Credits bought",
    EntryKind.GRANT: "Credits added",
    EntryKind.PROMOTION: "Promotional credits",
    EntryKind.USAGE: "Answer",
    EntryKind.REFUND: "Refund",
    EntryKind.DISPUTE: "Payment questioned by your bank",
    EntryKind.RESTORED: "Credits given back",
    EntryKind.EXPIRY: "Credits expired",
    EntryKind.CORRECTION: "Correction",
}


def shown(balance: ledger.Balance, expiry: ledger.Expiry | None = None) -> dict[str, Any]:
    return {
        "balance_mc": balance.balance_mc,
        "held_mc": balance.held_mc,
        "available_mc": balance.available_mc,
        "debt_mc": balance.debt_mc,
        "next_expiry": {"amount_mc": expiry.amount_mc, "at": expiry.at.isoformat()} if expiry else None,
    }


async def facts(session: AsyncSession, *, account_id: UUID) -> dict[str, Any]:
    """What an account has, and what of it expires next."""
    has = await ledger.balance(session, account_id=account_id)
    return shown(has, await ledger.next_expiry(session, account_id=account_id))


@blueprint.get("")
@signed_in
@answers(CreditFacts)
async def show() -> ResponseReturnValue:
    async with transaction() as session:
        return await facts(session, account_id=g.account.id)


@blueprint.get("/entries")
@signed_in
@query(after=AFTER_NUMBER, **FILTER)
@answers(Entries)
async def entries() -> ResponseReturnValue:
    """The statement, newest first, of one kind or some days of UTC; page by `?after=` the `next` of the page before."""
    only, after = chosen(request.args), last_number(request.args.get("after"))
    async with transaction() as session:
        return await statement(session, account_id=g.account.id, only=only, after=after)


@blueprint.get("/entries.csv")
@signed_in
@query(**FILTER)
@answers("text/csv", problems=(429,))
async def entries_csv() -> ResponseReturnValue:
    """The whole statement, or what the filter leaves of it, as a spreadsheet reads it."""
    await limits.admit(limits.PAPERS, account=str(g.account.id), ip="")
    response = Response(_csv(g.account.id, chosen(request.args)), content_type=CSV)
    response.headers["Content-Disposition"] = 'attachment; filename="clofy-statement.csv"'
    response.timeout = None  # it may be long; each of its pages is read in a transaction of its own
    return response


@blueprint.get("/months")
@signed_in
@answers(Months)
async def list_months() -> ResponseReturnValue:
    """The months in which something moved, newest first; each adds up."""
    async with transaction() as session:
        return {"months": await months(session, account_id=g.account.id)}


def chosen(asked: Mapping[str, str]) -> Filter:
    """The filter of a request. Raises InvalidInput."""
    kind = asked.get("kind", "")
    if kind and kind not in set(EntryKind):
        raise InvalidInput(field="kind", rule=f"must be one of {', '.join(EntryKind)}")
    return Filter(EntryKind(kind) if kind else None, _day(asked, "from"), _day(asked, "to"))


def _day(asked: Mapping[str, str], name: str) -> date | None:
    text = asked.get(name, "")
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        raise InvalidInput(field=name, rule="must be a date as 2001-12-31") from None


async def statement(
    session: AsyncSession, *, account_id: UUID, only: Filter = EVERYTHING, after: int | None = None, limit: int = PAGE
) -> dict[str, Any]:
    """A page of the statement: each line says what, when, how much, the balance after, and where to look."""
    lines = await statements.entries(session, account_id=account_id, only=only, after=after, limit=limit)
    named = [statements.cause(line.source) for line in lines]
    answers = [UUID(name) for kind, name in named if kind == "generation"]
    causes = await queries.causes(session, answers) if answers else {}
    reasons = await statements.reasons(session, lines)
    return {
        "entries": [_line(line, causes, reasons[line.id]) for line in lines],
        "next": str(lines[-1].id) if len(lines) == limit else None,
    }


def _line(line: CreditEntry, causes: Mapping[UUID, dict[str, str]], reason: Reason) -> dict[str, Any]:
    kind, name = statements.cause(line.source)
    told: dict[str, Any] = {"what": WHAT[EntryKind(line.kind)], "link": None}
    if kind == "purchase":
        told["link"] = f"/credits/purchases/{name}"
    elif kind == "generation":
        told = {**told, **causes.get(UUID(name), {})}
    return {
        "id": str(line.id),
        "created_at": line.created_at.isoformat(),
        "kind": line.kind,
        "amount_mc": line.amount_mc,
        "balance_after_mc": line.balance_after_mc,
        **told,
        "reason": reason.reason,
        "expires_at": reason.expires_at.isoformat() if reason.expires_at else None,
    }


async def months(session: AsyncSession, *, account_id: UUID) -> list[dict[str, Any]]:
    """The months as the API and the pages show them."""
    return [_month(one) for one in await statements.months(session, account_id=account_id)]


def _month(month: Month) -> dict[str, Any]:
    return {
        "month": f"{month.first:%Y-%m}",
        "opening_mc": month.opening_mc,
        "in_mc": month.came_in_mc,
        "used_mc": month.used_mc,
        "returned_mc": month.returned_mc,
        "expired_mc": month.expired_mc,
        "closing_mc": month.closing_mc,
    }


COLUMNS = (
    "time",
    "kind",
    "what",
    "reason",
    "credits",
    "balance after",
    "credits_mc",
    "balance_after_mc",
    "expires",
    "link",
)


async def _csv(account_id: UUID, only: Filter) -> AsyncIterator[str]:
    yield "\ufeff" + csv_line(COLUMNS)  # by the mark, spreadsheets know that it is UTF-8
    after: int | None = None
    while True:
        async with transaction() as session:
            page = await statement(session, account_id=account_id, only=only, after=after, limit=CSV_PAGE)
        yield "".join(csv_line(_cells(line)) for line in page["entries"])
        if page["next"] is None:
            return
        after = int(page["next"])


def _cells(line: Mapping[str, Any]) -> Sequence[str | int]:
    return (
        line["created_at"],
        line["kind"],
        line["what"],
        line["reason"] or "",
        plain_credits(line["amount_mc"]),
        plain_credits(line["balance_after_mc"]),
        line["amount_mc"],
        line["balance_after_mc"],
        line["expires_at"] or "",
        line["link"] or "",
    )
