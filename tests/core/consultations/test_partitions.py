"""A day's words are a table of their own, made ahead and dropped whole."""

from datetime import date, timedelta
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations import partitions

DAY = date(2020, 2, 28)


async def test_days_that_have_a_table_are_found_and_dropped_with_what_was_said(session: AsyncSession) -> None:
    leap = [DAY + timedelta(days=number) for number in range(3)]
    await session.execute(text("select prepare_message_partitions(:first, :last)"), {"first": leap[0], "last": leap[2]})
    row = text("insert into message_texts (said_on, message_id, text) values (:day, :id, 'old')")
    await session.execute(row, [{"day": day, "id": uuid4()} for day in leap])

    assert await partitions.up_to(session, leap[1]) == leap[:2]
    for day in leap[:2]:
        await partitions.drop(session, day)

    assert await partitions.up_to(session, leap[2]) == leap[2:]
    said = await session.scalars(text("select said_on from message_texts where said_on <= :last"), {"last": leap[2]})
    assert list(said) == leap[2:]


async def test_a_day_that_is_gone_is_dropped_without_an_error(session: AsyncSession) -> None:
    assert await partitions.drop(session, DAY) == 0


async def test_tables_are_made_ahead_once(session: AsyncSession) -> None:
    await partitions.prepare(session)

    assert await partitions.prepare(session) == 0
