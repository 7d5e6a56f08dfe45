"""What is put aside each day, as a worker does it: once, told when it is late, and nothing without a storage."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import archive, snapshots
from core.settings import settings
from sandbox.azurite import Azurite
from tests.house import House
from tests.workers.here import Here

Alarms = list[dict[str, Any]]


@pytest.fixture
async def told(house: House, storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Alarms]:
    """What the tasks of workers/archive.py log as an error."""
    from workers import archive as tasks  # its Celery application reads the settings that `house` has set

    async def forget() -> None:
        for room in (Room.ARCHIVE, Room.SNAPSHOTS):
            names = [one.name async for page in blobs.pages(room) for one in page]
            for name in names:
                await blobs.erase(room, name)
        async with transaction() as session:
            await session.execute(text("delete from restore_drills"))

    errors: Alarms = []
    async with Here.open() as here:
        monkeypatch.setattr(tasks, "process", lambda: here)
        here.closers.append(blobs.close)
        monkeypatch.setattr(tasks.logger, "error", lambda event, **facts: errors.append({"event": event, **facts}))
        await forget()
        yield errors
        await forget()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, datetime]:
    """Where the tasks read the time."""
    from workers import archive as tasks

    at = {"now": datetime.now(UTC)}

    async def now() -> datetime:
        return at["now"]

    monkeypatch.setattr(tasks, "_now", now)
    return at


async def run(name: str) -> dict[str, Any]:
    from workers import archive as tasks

    result: dict[str, Any] = await getattr(tasks, name).body(None)
    return result


async def test_a_copy_is_made_each_day_and_the_drill_restores_it_each_week(
    told: Alarms, clock: dict[str, datetime], account_id: UUID
) -> None:
    today = clock["now"].date()

    first, second = await run("copy_database"), await run("copy_database")
    drilled, again = await run("hold_drill"), await run("hold_drill")
    clock["now"] += timedelta(days=30)
    later = await run("copy_database")

    assert (first["day"], second["day"]) == (str(today), None)
    assert first["rows"] > 0
    assert (drilled["held"], again["held"]) == (True, False)
    assert later["day"] == str(today + timedelta(days=30))
    assert later["gone"] > 10
    assert await snapshots.days() == [today + timedelta(days=30)]
    assert [one for one in told if one["event"] == "snapshot_late"] == []


async def test_a_copy_that_is_late_and_one_that_cannot_be_restored_are_alarms(
    told: Alarms, clock: dict[str, datetime], account_id: UUID
) -> None:
    await run("copy_database")
    blob = (await snapshots.manifest(clock["now"].date())).tables[0].blob
    await blobs.erase(Room.SNAPSHOTS, blob)
    clock["now"] += timedelta(hours=27)

    result = await run("hold_drill")

    assert result["late"]
    assert {one["event"] for one in told} == {"snapshot_late", "restore_drill_failed"}


async def test_days_are_archived_once_and_one_that_is_held_up_is_an_alarm(
    told: Alarms, clock: dict[str, datetime], account_id: UUID
) -> None:
    today = clock["now"].date()
    await _archived(today - timedelta(days=1))
    clock["now"] = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC) + timedelta(minutes=20)

    first, second = await run("archive_days"), await run("archive_days")

    assert [(one["day"], one["locked"]) for one in first["archived"]] == [(str(today), False)]
    assert second == {"archived": [], "gone": 0}
    assert told == []
    clock["now"] += timedelta(days=3)
    async with transaction() as session:  # one that does not end
        await session.execute(text("select 1"))
        await run("archive_days")
    assert told == [{"event": "archive_late", "last": str(today)}]


async def _archived(day: date) -> None:
    line = archive.Lines(archive.NOTHING).make("end", b'{"day":"%s","lines":0}' % str(day).encode())

    async def whole() -> AsyncIterator[bytes]:
        yield line

    await blobs.write(Room.ARCHIVE, archive.name_of(day), whole())


@pytest.mark.parametrize("name", ["archive_days", "copy_database", "hold_drill"])
async def test_without_a_storage_nothing_is_put_aside(
    told: Alarms, clock: dict[str, datetime], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await blobs.close()
    none = settings().model_copy(update={"blob_connection_string": type(settings().blob_connection_string)("")})
    monkeypatch.setattr(blobs, "settings", lambda: none)

    result = await run(name)

    await blobs.close()
    monkeypatch.undo()
    assert result == {"storage": False}
    assert told == []
