"""The statement: an account's entries, filtered; why each is there; and month by month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Date, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits.models import CreditAdjustment, CreditEntry, CreditLot, EntryKind
from core.direct import Hot, Unit


@dataclass(frozen=True)
class Filter:
    """Which lines; days are those of UTC, both included."""

    kind: EntryKind | None = None
    since: date | None = None
    until: date | None = None


EVERYTHING = Filter()


async def entries(
    session: AsyncSession, *, account_id: UUID, only: Filter = EVERYTHING, after: int | None = None, limit: int = 50
) -> Sequence[CreditEntry]:
    """The account's lines, newest first; `after` is the last id of the page before."""
    query = select(CreditEntry).where(CreditEntry.account_id == account_id).order_by(CreditEntry.id.desc()).limit(limit)
    day = cast(func.timezone("UTC", CreditEntry.created_at), Date)
    if only.kind is not None:
        query = query.where(CreditEntry.kind == only.kind)
    if only.since is not None:
        query = query.where(day >= only.since)
    if only.until is not None:
        query = query.where(day <= only.until)
    if after is not None:
        query = query.where(CreditEntry.id < after)
    return (await session.scalars(query)).all()


def cause(source: str) -> tuple[str, str]:
    """What kind of thing a source names, and its id: "purchase:<id>:refund:1" is of the purchase."""
    kind, _, rest = source.partition(":")
    return kind, rest.partition(":")[0]


@dataclass(frozen=True)
class Reason:
    """What an admin wrote to a grant or correction; when a grant expires."""

    reason: str | None = None
    expires_at: datetime | None = None


async def reasons(session: AsyncSession, lines: Sequence[CreditEntry]) -> dict[int, Reason]:
    """For the lines that an admin, or a date, is the cause of; by their ids."""
    named = {line.id: cause(line.source) for line in lines}
    made = [UUID(name) for kind, name in named.values() if kind == "adjustment"]
    adjustments = select(CreditAdjustment.id, CreditAdjustment.reason).where(CreditAdjustment.id.in_(made))
    written = {str(row_id): reason for row_id, reason in await session.execute(adjustments)}
    sources = [line.source for line in lines if line.kind == EntryKind.PROMOTION]
    lots = select(CreditLot.source, CreditLot.expires_at).where(CreditLot.source.in_(sources))
    ends = {source: expires_at for source, expires_at in await session.execute(lots)}  # noqa: C416  # rows, not pairs
    return {line.id: Reason(written.get(named[line.id][1]), ends.get(line.source)) for line in lines}


@dataclass(frozen=True)
class Month:
    """What came and went in a month of UTC, in millicredits: closing = opening + in - used - returned - expired.

    came_in: bought, granted, and given back after a refund or a dispute came to nothing
    used: answers, and what an admin took
    returned: taken back for refunds and disputes
    """

    first: date
    opening_mc: int
    came_in_mc: int
    used_mc: int
    returned_mc: int
    expired_mc: int
    closing_mc: int


_MONTHS = Hot("""
    select month, cast(sum(came_in + gone) over earlier - came_in - gone as bigint), came_in,
           used, returned, expired, cast(sum(came_in + gone) over earlier as bigint)
    from (
        select cast(date_trunc('month', created_at at time zone 'UTC') as date) as month,
               cast(coalesce(sum(amount_mc) filter (where amount_mc > 0), 0) as bigint) as came_in,
               cast(coalesce(sum(amount_mc) filter (where amount_mc < 0), 0) as bigint) as gone,
               cast(coalesce(-sum(amount_mc) filter (where kind in ('usage', 'correction')), 0) as bigint) as used,
               cast(coalesce(-sum(amount_mc) filter (where kind in ('refund', 'dispute')), 0) as bigint) as returned,
               cast(coalesce(-sum(amount_mc) filter (where kind = 'expiry'), 0) as bigint) as expired
        from credit_entries where account_id = :account_id group by 1
    ) month
    window earlier as (order by month)
    order by month desc
""")


async def months(session: Unit, *, account_id: UUID) -> list[Month]:
    """The months in which something moved, newest first."""
    return [Month(*row) for row in await _MONTHS.all(session, account_id=account_id)]
