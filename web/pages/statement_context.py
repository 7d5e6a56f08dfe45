"""What the pages of the statement and of receipts show: as context.py."""

from calendar import monthrange
from datetime import date
from typing import Any, TypedDict, cast
from urllib.parse import urlencode
from uuid import UUID

from quart import request

from core.credits.models import EntryKind
from core.credits.statement import Filter
from core.database import transaction
from core.errors import InvalidInput, NotFound
from core.settings import settings
from web import credits, receipts  # noqa: A004  # the noun of the house
from web.inputs import last_number
from web.shapes import Entries, EntryFacts, MonthFacts, Months, Receipts

MONTH_LINES = 1_000  # of a page to print; a spreadsheet has more patience


class StatementPageFacts(Entries):
    kinds: list[tuple[str, str]]  # what may be chosen
    chosen: dict[str, str]
    chosen_query: str  # as "?kind=usage", or empty


class MonthPageFacts(TypedDict):
    month: MonthFacts
    first: date
    last: date
    entries: list[EntryFacts]
    next: str | None
    home: str


async def statement(*, account_id: UUID) -> StatementPageFacts:
    """What the request chooses. Raises NotFound for a choice that says nothing."""
    try:
        only, after = credits.chosen(request.args), last_number(request.args.get("after"))
    except InvalidInput:
        raise NotFound from None
    async with transaction() as session:
        found: Any = await credits.statement(session, account_id=account_id, only=only, after=after)
    chosen = {name: request.args.get(name, "") for name in ("kind", "from", "to")}
    query = urlencode({name: value for name, value in chosen.items() if value})
    return {
        **cast("Entries", found),
        "kinds": [(kind, credits.WHAT[kind]) for kind in EntryKind],
        "chosen": chosen,
        "chosen_query": f"?{query}" if query else "",
    }


async def months(*, account_id: UUID) -> Months:
    async with transaction() as session:
        return {"months": cast("list[MonthFacts]", await credits.months(session, account_id=account_id))}


async def month(name: str, *, account_id: UUID) -> MonthPageFacts:
    """A month in which something moved, as "2026-05". Raises NotFound for another."""
    async with transaction() as session:
        rows = await credits.months(session, account_id=account_id)
        found = next((row for row in rows if row["month"] == name), None)
        if found is None:
            raise NotFound
        first = date.fromisoformat(f"{name}-01")
        last = first.replace(day=monthrange(first.year, first.month)[1])
        only = Filter(since=first, until=last)
        lines = await credits.statement(session, account_id=account_id, only=only, limit=MONTH_LINES)
    return {
        **cast("Entries", lines),
        "month": cast("MonthFacts", found),
        "first": first,
        "last": last,
        "home": settings().public_url,
    }


async def receipts_page(*, account_id: UUID) -> Receipts:
    try:
        after = last_number(request.args.get("after"))
    except InvalidInput:
        raise NotFound from None
    return cast("Receipts", await receipts.page(account_id=account_id, after=after))
