"""The job that brings sealed fields under the key of the day, as a worker runs it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from core.database import engine, transaction
from core.queue import TaskName
from core.sealing import SEALED_COLUMNS
from tests.core.test_sealing import NEW, OLD, WORDS, Base, Kept, fill, use
from tests.house import House


@pytest.fixture
async def _table(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    for name in list(SEALED_COLUMNS):  # those of other tests' accounts are under keys of theirs
        monkeypatch.delitem(SEALED_COLUMNS, name)
    monkeypatch.setitem(SEALED_COLUMNS, WORDS.name, WORDS)
    async with engine().begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    async with engine().begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


@pytest.mark.usefixtures("_table")
async def test_all_batches_are_done_and_what_nobody_can_open_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from workers import upkeep  # its Celery application reads the settings that `house` has set

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(upkeep.logger, "error", lambda event, **facts: told.append({"event": event, **facts}))
    use(monkeypatch, OLD)
    [broken, *_] = await fill(230)
    async with transaction() as session:
        await session.execute(update(Kept).where(Kept.id == broken).values(words=WORDS.seal(uuid4(), b"another's")))
    use(monkeypatch, NEW, OLD)

    assert upkeep.reseal.name == TaskName.RESEAL
    assert await upkeep.reseal.body(None) == {"sealed": 229, "left": 1}  # type: ignore[arg-type]  # it asks nothing of its run

    assert told == [{"event": "sealed_value_unreadable", "column": "kept_for_a_test.words", "row": str(broken)}]
