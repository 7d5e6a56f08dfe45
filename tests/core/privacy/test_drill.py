"""The weekly drill: the latest copy can be restored, or it is told why not; nothing is left of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text

from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import drill, snapshots
from core.privacy.snapshots import Manifest
from core.settings import settings
from tests.core.privacy.test_restore import Fresh, fresh
from tests.core.privacy.test_snapshots import empty
from tests.house import House

__all__ = ["fresh"]
pytestmark = pytest.mark.usefixtures("storage")
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
async def _no_copies(house: House) -> AsyncIterator[None]:
    async def forget() -> None:
        await empty()
        async with transaction() as session:
            await session.execute(text("delete from restore_drills"))

    await forget()
    yield
    await forget()
    await blobs.close()


async def copied() -> Manifest:
    """A copy of a house in which beat has written a job."""
    async with transaction() as session:
        await session.execute(
            text(
                "insert into jobs (id, task, queue, payload, max_attempts, backoff, backoff_cap, ring_at, state,"
                " finished_at) values (:id, 'test', 'upkeep', '{}', 1, 1, 1, now(), 'done', now())"
            ),
            {"id": uuid4()},
        )
    made = await snapshots.take(now=NOW)
    assert made is not None
    return made


async def of_the_house() -> list[str]:
    """What is wrong with the books of this house already: other tests have made them so."""
    return await drill._look(settings().database_url, taken_at=NOW)


async def databases(house: House) -> list[str]:
    server = await asyncpg.connect(house.postgres.url.replace("+asyncpg", ""))
    try:
        return [name for (name,) in await server.fetch("select datname::text from pg_database")]
    finally:
        await server.close()


async def test_the_latest_copy_is_restored_and_nothing_is_left(house: House, account_id: UUID) -> None:
    await copied()
    before, wrong = await databases(house), await of_the_house()

    assert sorted(await drill.hold(now=NOW)) == sorted(wrong)

    assert await databases(house) == before
    async with transaction() as session:
        held = await drill.last(session)
        assert held is not None
        assert (held.snapshot, len(held.findings)) == (NOW.date(), min(len(wrong), drill.TOLD))
        assert held.rows > 0
        held.findings = []
        await session.flush()
        assert not await drill.is_due(session, now=NOW + timedelta(days=7) - timedelta(seconds=1))
        assert await drill.is_due(session, now=NOW + timedelta(days=7))
    assert await drill.findings(now=NOW) == []


async def test_a_copy_that_cannot_be_restored_is_found_and_tried_again_the_next_day(
    house: House, account_id: UUID
) -> None:
    made = await copied()
    before = await databases(house)
    await blobs.erase(Room.SNAPSHOTS, made.tables[3].blob)

    found = await drill.hold(now=NOW)

    assert len(found) == 1
    assert "NoSuchBlob" in found[0]
    assert await databases(house) == before
    async with transaction() as session:
        assert await drill.is_due(session, now=NOW + timedelta(days=1))
    assert any("NoSuchBlob" in one for one in await drill.findings(now=NOW))


async def test_books_that_do_not_add_up_in_a_copy_are_found(house: House, rich_id: UUID) -> None:
    wrong = text("update credit_accounts set balance_mc = balance_mc + :by where account_id = :id")
    async with transaction() as session:
        await session.execute(wrong, {"by": 1, "id": rich_id})
    await copied()
    async with transaction() as session:
        await session.execute(wrong, {"by": -1, "id": rich_id})

    found = await drill.hold(now=NOW)

    assert any(str(rich_id) in one for one in found), found


async def test_a_house_without_a_fresh_copy_is_told(house: House, account_id: UUID) -> None:
    taken_at = (await copied()).taken_at

    assert not await drill.copy_is_late(now=taken_at + timedelta(hours=26))
    assert await drill.copy_is_late(now=taken_at + timedelta(hours=26, seconds=1))
    await empty()
    assert await drill.copy_is_late(now=NOW + timedelta(hours=27))  # for there are people


async def test_where_the_role_may_make_none_a_database_of_its_own_is_used_and_emptied(
    fresh: Fresh, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = settings().model_copy(update={"drill_database_url": fresh.url})
    monkeypatch.setattr(drill, "settings", lambda: changed)
    await copied()

    assert sorted(await drill.hold(now=NOW)) == sorted(await of_the_house())
    assert await fresh.ask(drill._HAS_TABLES) == [(False,)]

    await fresh.ask("create table something (id int)")
    found = await drill.hold(now=NOW)
    assert "NotForDrills" in found[0]
    assert await fresh.ask("select count(*) from something") == [(0,)]
