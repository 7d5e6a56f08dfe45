"""The days of `message_texts`: each day's words are a table of their own, made ahead, and dropped by the purge."""

from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DAYS_AHEAD = 35  # so that a beat that was away for a month loses nothing


async def prepare(session: AsyncSession) -> int:
    """Make the tables of the coming days; returns how many were made."""
    made = await session.execute(
        text("""
            select prepare_message_partitions(today - 1, today + cast(:ahead as int))
            from (select (now() at time zone 'utc')::date as today) as days
        """),
        {"ahead": DAYS_AHEAD},
    )
    return int(made.scalar_one())


def name_of(day: date) -> str:
    return f"message_texts_{day:%Y%m%d}"


async def up_to(session: AsyncSession, last: date) -> list[date]:
    """The days up to `last` that have a table, the oldest first."""
    days = await session.scalars(
        text("""
            select to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') as day from pg_inherits
            where inhparent = 'message_texts'::regclass and inhrelid::regclass::text ~ '^message_texts_[0-9]{8}$'
                and to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') <= :last
            order by 1
        """),
        {"last": last},
    )
    return list(days)


async def drop(session: AsyncSession, day: date) -> int:
    """Drop a day with all that was said on it; returns how many texts that was, as the server counts by the way.

    One that is gone already is none. A reader that holds the table for longer than two seconds is not waited for,
    since all others would wait behind us.
    """
    await session.execute(text("set local lock_timeout = '2s'"))
    count = text("select coalesce(pg_stat_get_live_tuples(to_regclass(:name)), 0)")
    texts = await session.scalar(count, {"name": name_of(day)})
    await session.execute(text(f"drop table if exists {name_of(day)}"))
    return int(texts or 0)
