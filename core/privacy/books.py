"""The books of accounts that were erased: kept for ten years from the end of that year, as tax law asks, then gone."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.privacy import holds
from core.privacy.registry import DataClass
from core.privacy.tables import TABLES

YEARS = 10  # German tax law, AO 147(3) and (4), is the longest that we know of; books_are_over() in the database too

DUE = text("""
    select id from accounts where erased_at < :before and id <> all(:held)
    order by erased_at limit 1 for update skip locked
""")


def until(erased_at: datetime) -> datetime:
    """When the books of an account go that was erased at this time."""
    return datetime(erased_at.astimezone(UTC).year + 1 + YEARS, 1, 1, tzinfo=UTC)


async def close(now: datetime) -> Counter[str]:
    """Delete what is left of accounts whose books are over; how many rows of which table."""
    before = datetime(now.astimezone(UTC).year - YEARS, 1, 1, tzinfo=UTC)
    gone: Counter[str] = Counter()
    while True:
        async with transaction() as session:
            held = await holds.freeze(session)
            account_id = await session.scalar(DUE, {"before": before, "held": held})
            if account_id is None:
                return gone
            gone += await _close(session, account_id)


async def _close(session: AsyncSession, account_id: UUID) -> Counter[str]:
    gone: Counter[str] = Counter()
    for table in reversed(TABLES):
        if table.name == "accounts" or (table.of is DataClass.BILLING and table.owner):
            mine = text(f"delete from {table.name} where {table.owner}")  # noqa: S608  # of our own words
            done = await session.execute(mine, {"account": account_id})
            gone[table.name] += cast("CursorResult[Any]", done).rowcount
    return gone
