"""The days of `message_texts`: each day's words are a table of their own, made ahead."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

DAYS_AHEAD = 35  # so that a beat that was away for a month loses nothing


async def prepare(session: AsyncSession) -> int:
    """Make the tables of the coming days; returns how many were made."""
    made = await session.execute(
        text("select prepare_message_partitions(current_date - 1, current_date + :ahead)"), {"ahead": DAYS_AHEAD}
    )
    return int(made.scalar_one())
