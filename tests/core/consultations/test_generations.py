"""What a worker is given to have a question answered, wherever the words are."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from core.consultations import conversation, generations
from core.consultations.models import Generation
from core.database import transaction
from tests import makers

YESTERDAY = timedelta(days=1)


@pytest.fixture
async def consultation(rich_id: UUID) -> UUID:
    async with transaction() as session:
        return await makers.make_consultation(session, rich_id)


async def ask(account_id: UUID, consultation_id: UUID, words: str, *, ago: timedelta = timedelta()) -> UUID:
    """Ask; returns the generation."""
    async with transaction() as session:
        asked = await conversation.ask(session, account_id=account_id, consultation_id=consultation_id, question=words)
        facts = {"id": asked.message, "days": ago.days}
        for change in (
            "update messages set said_on = said_on - cast(:days as int) where id = :id",
            "update message_texts set said_on = said_on - cast(:days as int) where message_id = :id",
        ):
            await session.execute(text(change), facts)
        query = select(Generation.id).where(Generation.question_id == asked.message)
        return (await session.scalars(query)).one()


async def forget(words: str) -> None:
    async with transaction() as session:
        await session.execute(text("delete from message_texts where text = :words"), {"words": words})


async def loaded(generation_id: UUID) -> list[tuple[str, str]] | None:
    order = await generations.load(generation_id)
    return [(one["role"], one["content"]) for one in order.messages[1:]] if order else None


@pytest.mark.parametrize("ago", [timedelta(), YESTERDAY])
async def test_a_question_comes_with_what_was_said_before(rich_id: UUID, consultation: UUID, ago: timedelta) -> None:
    await ask(rich_id, consultation, "Is it?", ago=2 * ago)
    await ask(rich_id, consultation, "And then?", ago=ago)
    last = await ask(rich_id, consultation, "Why?")

    assert await loaded(last) == [("user", "Is it?"), ("user", "And then?"), ("user", "Why?")]


@pytest.mark.parametrize("ago", [timedelta(), YESTERDAY])
async def test_a_question_whose_words_are_gone_is_not_answered(
    rich_id: UUID, consultation: UUID, ago: timedelta
) -> None:
    asked = await ask(rich_id, consultation, f"Gone {consultation}", ago=ago)
    await forget(f"Gone {consultation}")

    assert await loaded(asked) is None


async def test_words_before_it_that_are_gone_are_left_out(rich_id: UUID, consultation: UUID) -> None:
    await ask(rich_id, consultation, f"Gone {consultation}", ago=YESTERDAY)
    last = await ask(rich_id, consultation, "Why?")
    await forget(f"Gone {consultation}")

    assert await loaded(last) == [("user", "Why?")]
