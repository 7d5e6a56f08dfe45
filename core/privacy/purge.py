"""The purge: whatever is past its term goes, as core/privacy/tables.py and places.py say, and nothing else does.

Each batch is a transaction of its own, so a run may be stopped at any moment, and the next goes on. Two runs at once
are one: the second finds the first at work and does nothing. What is under a legal hold stays (core/privacy/holds.py).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from redis.exceptions import RedisError
from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations import partitions
from core.database import is_away, transaction
from core.media.blobs import StorageAway
from core.privacy import books, holds, purge_outside, purge_receipts
from core.privacy.places import CONTAINERS, KEYS
from core.privacy.registry import DataClass, Ends, Table
from core.privacy.tables import TABLES
from core.telemetry import log

LOCK = 0x50555247  # an advisory lock: one run at a time
BATCH = 1_000  # rows of one transaction
SECONDS = 10  # for one statement of it
SLACK = timedelta(days=1)
FIRST = (DataClass.TRANSCRIPT,)  # what a run that is cut off should have done

logger = log(__name__)


@dataclass(frozen=True)
class Gone:
    """What went from one place. before: what was due by then; days: parts that were dropped whole.

    count: of dropped parts it is what the server had counted by the way, which may be somewhat off
    """

    place: str
    before: datetime
    count: int
    days: int = 0


async def run(*, now: datetime, only: DataClass | None = None) -> list[Gone] | None:
    """Take all that is due, or what is of one class. None: another run is at work.

    What fails in one place is logged and left to the next run; the other places are gone through all the same.
    """
    async with _alone() as alone:
        if not alone:
            return None
        # Terms are counted in UTC: where clocks go back, thirty days by the clock on the wall are an hour longer.
        run_id, gone, now = uuid4(), list[Gone](), now.astimezone(UTC)
        for of in [only] if only else (*FIRST, *(one for one in DataClass if one not in FIRST)):
            begun = datetime.now(UTC)
            mine = [*[one async for one in _rows(of, now)], *[one async for one in _outside(of, now)]]
            if of is DataClass.BILLING:
                closed = await books.close(now)
                mine += [Gone(f"{table} of closed books", now, count) for table, count in closed.items()]
            if mine:
                async with transaction() as session:
                    await purge_receipts.write(session, run_id=run_id, of=of, gone=_told(mine), begun_at=begun)
            gone += mine
        return gone


@asynccontextmanager
async def _alone() -> AsyncIterator[bool]:
    """Held by a transaction that does nothing else, so that it ends with us however we end."""
    async with transaction() as session:
        yield bool(await session.scalar(text("select pg_try_advisory_xact_lock(:lock)"), {"lock": LOCK}))


def _told(gone: list[Gone]) -> list[dict[str, Any]]:
    return [{"place": one.place, "before": one.before, "count": one.count, "days": one.days} for one in gone]


async def _rows(of: DataClass, now: datetime) -> AsyncIterator[Gone]:
    """Tables of one class. Each goes before those that it points to."""
    for table in reversed([one for one in TABLES if one.of is of]):
        for ends in table.all_ends:
            before, count, dropped = now - ends.after, 0, 0
            try:
                async for rows, days in _clear(table, ends, before):
                    count, dropped = count + rows, dropped + days
            except DBAPIError as error:
                if is_away(error):
                    raise
                _postponed(table.name, error.orig)
            yield Gone(table.name, before, count, dropped)


async def _outside(of: DataClass, now: datetime) -> AsyncIterator[Gone]:
    for keys in KEYS:
        if keys.of is of and keys.lives:
            try:
                yield Gone(f"redis {keys.prefix}", now, await purge_outside.end_keys(keys))
            except (RedisError, OSError) as error:
                _postponed(f"redis {keys.prefix}", error)
    for container in CONTAINERS:
        if container.of is of and container.ends is not None:
            before = now - container.ends
            try:
                yield Gone(f"blobs {container.name}", before, await purge_outside.empty(container, before=before))
            except StorageAway as error:
                _postponed(f"blobs {container.name}", error)


def _postponed(place: str, error: BaseException | None) -> None:
    logger.warning("purge_postponed", place=place, error=type(error).__name__)


async def _clear(table: Table, ends: Ends, before: datetime) -> AsyncIterator[tuple[int, int]]:
    """Batch by batch: how many rows went, and how many days."""
    name = table.name
    if ends.days:
        async with transaction() as session:
            days = await partitions.up_to(session, before.astimezone(UTC).date())
        for day in days:
            async with transaction() as session:
                await _set_aside(session, day, await holds.freeze(session))
                texts = await partitions.drop(session, day)
            yield texts, 1
        name = f"{table.name}_default"  # what no day was made for
    while True:
        async with transaction() as session:
            rows = await _batch(session, name, table, ends, before)
        if not rows:
            return
        yield rows, 0


async def _set_aside(session: AsyncSession, day: date, held: Sequence[UUID]) -> None:
    """Copy what is held out of a day that is about to be dropped."""
    if held:
        await session.execute(
            text("""
                insert into held_texts (message_id, account_id, said_on, text)
                select message_id, account_id, message_texts.said_on, text from consultations
                join messages on messages.consultation_id = consultations.id and messages.said_on = :day
                join message_texts on message_texts.said_on = :day and message_id = messages.id
                where account_id = any(:held)
                on conflict do nothing
            """),
            {"day": day, "held": held},
        )


def due(table: Table, ends: Ends, *, held: bool) -> str:
    """The condition, in SQL with :before and :held, of rows that are due."""
    free = f" and ({table.owner.replace(':account', 'any(:held)')}) is not true" if held and table.owner else ""
    return f"{ends.since} <= cast(:before as timestamptz) and ({ends.only}){free}"


async def _batch(session: AsyncSession, name: str, table: Table, ends: Ends, before: datetime) -> int:
    """Take a batch of what is due, the oldest first; rows that somebody works on are left to a later one."""
    held = await holds.freeze(session)
    # A date is compared by its first moment in this zone.
    limits = "select set_config('statement_timeout', :most, true), set_config('timezone', 'UTC', true)"
    await session.execute(text(limits), {"most": f"{SECONDS}s"})
    rows = f"""
        array(select ctid from {name} where {due(table, ends, held=bool(held))}
              order by {ends.since} limit {BATCH} for update skip locked)
    """  # noqa: S608  # of our own words
    change = ", ".join(f"{column} = {value}" for column, value in ends.blank.items())
    take = f"update {name} set {change}" if change else f"delete from {name}"  # noqa: S608  # of our own words
    facts = {"before": before, "held": held} if held and table.owner else {"before": before}
    done = await session.execute(text(f"{take} where ctid = any({rows})"), facts)
    return cast("CursorResult[Any]", done).rowcount


async def overdue(session: AsyncSession, *, now: datetime) -> dict[str, datetime]:
    """Tables with rows that should have gone more than a day ago (security.md 149); when the oldest of them should."""
    held, now = await holds.freeze(session), now.astimezone(UTC)
    await session.execute(text("set local timezone = 'UTC'"))
    found: dict[str, datetime] = {}
    for table in TABLES:
        for ends in table.all_ends:
            query = f"""
                select {ends.since}::timestamptz from {table.name} where {due(table, ends, held=bool(held))}
                order by {ends.since} limit 1
            """  # noqa: S608  # of our own words
            facts: dict[str, Any] = {"before": now - SLACK - ends.after}
            facts |= {"held": held} if held and table.owner else {}
            oldest = await session.scalar(text(query), facts)
            if oldest is not None:
                found[table.name] = min(found.get(table.name, now), oldest + ends.after)
    return found
