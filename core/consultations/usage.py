"""How much accounts use the services: how many questions, and what they cost; by day and by month, never a word."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

MOST_MONTHS = 24

# Of each account only what was asked after its own `since`.
_ASKED = """
    from unnest(cast(:ids as uuid[]), cast(:since as timestamptz[])) as one(account_id, since)
    join consultations on consultations.account_id = one.account_id
    join generations on generations.consultation_id = consultations.id and generations.created_at >= one.since
"""
_BY_DAY = text(f"""
    select one.account_id, (generations.created_at at time zone 'utc')::date as day, services.name,
           count(*), coalesce(sum(cost_mc), 0)::bigint
    {_ASKED} join services on services.id = generations.service_id
    where generations.created_at >= :first and generations.created_at < :end
    group by 1, 2, 3 order by 2 desc, 3, 1
""")
_BY_MONTH = text(f"""
    select date_trunc('month', generations.created_at at time zone 'utc')::date, count(*),
           coalesce(sum(cost_mc), 0)::bigint
    {_ASKED} group by 1 order by 1 desc limit {MOST_MONTHS}
""")


@dataclass(frozen=True)
class Day:
    """What one account asked of one service on one day of UTC. What still runs has cost nothing yet."""

    account_id: UUID
    day: date
    service: str
    questions: int
    used_mc: int


@dataclass(frozen=True)
class Month:
    first: date
    questions: int
    used_mc: int


async def by_day(session: AsyncSession, since: Mapping[UUID, datetime], *, first: date, end: date) -> list[Day]:
    """The days from the first on, before the end, newest first. since: from when on each account's may be counted."""
    span = {"first": datetime.combine(first, time(), UTC), "end": datetime.combine(end, time(), UTC)}
    return [Day(*row) for row in await session.execute(_BY_DAY, _of(since) | span)]


async def by_month(session: AsyncSession, since: Mapping[UUID, datetime]) -> list[Month]:
    """All together; the months of UTC in which something was asked, newest first."""
    return [Month(*row) for row in await session.execute(_BY_MONTH, _of(since))]


def _of(since: Mapping[UUID, datetime]) -> dict[str, object]:
    return {"ids": list(since), "since": list(since.values())}
