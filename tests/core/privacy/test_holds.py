"""A hold is on an account until it is lifted; each is noted, and the reason is nobody's to read but ours."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.errors import NotFound
from core.privacy import holds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_an_account_is_held_until_each_of_its_holds_is_lifted(session: AsyncSession, account_id: UUID) -> None:
    first = await holds.place(session, account_id, reason="court 1", by=None, now=NOW)
    second = await holds.place(session, account_id, reason="court 2", by=None, now=NOW)

    await holds.lift(session, first, by=None, now=NOW)
    assert await holds.held(session, account_id)
    assert [hold.reason for hold in await holds.listed(session, account_id)] == ["court 2"]

    await holds.lift(session, second, by=None, now=NOW)
    assert not await holds.held(session, account_id)
    assert await holds.listed(session, account_id) == []


async def test_it_is_noted_without_its_reason(session: AsyncSession, account_id: UUID) -> None:
    admin = uuid4()
    hold = await holds.place(session, account_id, reason="secret matter", by=admin, now=NOW)
    await holds.lift(session, hold, by=None, now=NOW)

    lifted, placed = await audit.history(session, account_id=account_id)

    assert (placed.action, placed.actor_id, placed.object) == ("hold_placed", admin, f"hold:{hold}")
    assert (lifted.action, lifted.actor_id, lifted.facts) == ("hold_lifted", None, {})


async def test_what_is_not_there_is_neither_held_nor_lifted(session: AsyncSession, account_id: UUID) -> None:
    with pytest.raises(NotFound):
        await holds.place(session, uuid4(), reason="nobody", by=None, now=NOW)
    hold = await holds.place(session, account_id, reason="court", by=None, now=NOW)
    await holds.lift(session, hold, by=None, now=NOW)
    with pytest.raises(NotFound):
        await holds.lift(session, hold, by=None, now=NOW)
