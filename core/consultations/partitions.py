"""The days of `message_texts`: each day's words are a table of their own, made ahead, and dropped after KEPT_DAYS."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DAYS_AHEAD = 35  # so that a beat that was away for a month loses nothing
KEPT_DAYS = 30  # as the privacy policy promises for prompts and answers; no text is older


async def prepare(session: AsyncSession) -> int:
    """Make the tables of the coming days; returns how many were made."""
    made = await session.execute(
        text("select prepare_message_partitions(current_date - 1, current_date + :ahead)"), {"ahead": DAYS_AHEAD}
    )
    return int(made.scalar_one())


async def drop_old(session: AsyncSession) -> list[str]:
    """Drop the days that are KEPT_DAYS old, with all that was said on them; what no day was made for, too.

    Returns the names of the tables. A reader that holds one for longer than two seconds is not waited for, since
    all others would wait behind us: the next hour drops it.
    """
    last = await session.scalar(
        text("select (now() at time zone 'utc')::date - cast(:kept as int)"), {"kept": KEPT_DAYS}
    )
    old = await session.scalars(
        text("""
            select inhrelid::regclass::text from pg_inherits
            where inhparent = 'message_texts'::regclass and inhrelid::regclass::text ~ '^message_texts_[0-9]{8}$'
                and to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') <= :last
            order by 1
        """),
        {"last": last},
    )
    names = list(old)
    await session.execute(text("set local lock_timeout = '2s'"))
    for name in names:
        await session.execute(text(f"drop table {name}"))  # a name of ours, as matched above
    await session.execute(text("delete from message_texts_default where said_on <= :last"), {"last": last})
    return names
