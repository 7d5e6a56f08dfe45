"""The words of a day go when it is thirty days old, and no sooner."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations import partitions

AGES = (29, 30, 31, 400)


async def say(session: AsyncSession, age: int) -> None:
    row = text("insert into message_texts (said_on, message_id, text) values (:day, :id, 'old')")
    await session.execute(row, {"day": day(age), "id": uuid4()})


async def said(session: AsyncSession) -> Sequence[object]:
    return list(await session.scalars(text("select said_on from message_texts where text = 'old' order by 1")))


def day(age: int) -> object:
    return (datetime.now(UTC) - timedelta(days=age)).date()


async def test_days_that_are_thirty_days_old_are_dropped(session: AsyncSession) -> None:
    for age in AGES:
        await session.execute(text("select prepare_message_partitions(:day, :day)"), {"day": day(age)})
        await say(session, age)

    dropped = await partitions.drop_old(session)

    assert len(dropped) == 3
    assert await said(session) == [day(29)]
    assert await partitions.drop_old(session) == []


async def test_words_that_no_day_was_made_for_go_too(session: AsyncSession) -> None:
    for age in AGES:
        await say(session, age)

    await partitions.drop_old(session)

    assert await said(session) == [day(29)]
