"""What a hub survives: readers who leave in the middle, many who come back at once, a database that is away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import func, update

from core import database, jobs, streams
from core.database import transaction
from core.jobs import Glimpse, Job, JobState
from core.queue import TaskName
from tests.house import House
from web import live
from web.hub import Hub, Watch, end_all


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    made = Hub()
    made.start()
    yield made
    await made.close()


async def make_job() -> UUID:
    async with transaction() as session:
        job_id = await jobs.enqueue(session, TaskName.RENDER_ANEW, payload={}, delay=timedelta(hours=1))
    assert job_id is not None
    return job_id


def waiting(job_id: UUID) -> Glimpse:
    return Glimpse(job_id, 0, JobState.QUEUED, None, None)


async def test_a_reader_who_leaves_while_it_is_let_in_is_forgotten(house: House, hub: Hub) -> None:
    job_id = await make_job()
    before = await hub.watch(waiting(await make_job()), streams.START, lambda *_: None)
    house.freeze_redis()
    try:
        entering: asyncio.Task[Any] = asyncio.create_task(hub.watch(waiting(job_id), streams.START, lambda *_: None))
        while job_id not in hub._watches:  # noqa: ASYNC110  # the first thing that it does
            await asyncio.sleep(0)
        await end_all([entering])
    finally:
        house.thaw_redis()

    assert set(hub._watches) == {before.job_id}


async def test_three_hundred_who_come_back_at_once_each_get_what_they_missed(hub: Hub) -> None:
    job_id = await make_job()
    wire = streams.Wire(hub.redis)
    writer = wire.writer(job_id, 1)
    writer.emit("started", {"attempt": 1, "text": "", "tokens": 0})
    writer.delta("words", 1)
    await asyncio.wait_for(wire._idle.wait(), 5)
    told: dict[int, list[str]] = {number: [] for number in range(300)}

    def reader(number: int) -> Any:
        return lambda _, event: told[number].append(event.type)

    watches = await asyncio.gather(*[hub.watch(waiting(job_id), streams.START, reader(number)) for number in told])

    assert set(map(tuple, told.values())) == {("queued", "started", "delta")}
    for watch in watches:
        await hub.unwatch(watch)
    await wire.close()


async def test_rows_are_asked_again_after_a_database_that_was_just_starting(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg raises its own error then, which is none of SQLAlchemy's."""
    job_id = await make_job()
    ended: asyncio.Event = asyncio.Event()
    await hub.watch(waiting(job_id), streams.START, lambda _, event: ended.set() if event.ends else None)
    async with transaction() as session:
        done = {"state": JobState.DONE, "finished_at": func.now()}
        await session.execute(update(Job).where(Job.id == job_id).values(**done))
    real, refusals = database.statement, [1, 2]

    def starting() -> Any:
        if refusals:
            refusals.pop()
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        return real()

    monkeypatch.setattr("web.hub.statement", starting)
    monkeypatch.setattr("web.hub.ASK_ROWS_SECONDS", 0.01)
    monkeypatch.setattr("web.hub.SILENCE", 0.0)
    hub._tasks.append(asyncio.create_task(hub._ask_rows()))

    await asyncio.wait_for(ended.wait(), 5)


async def test_an_end_that_comes_while_a_socket_closes_does_not_break_its_closing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[Watch] = []
    closed: list[dict[str, Any]] = []

    class Busy:
        async def unwatch(self, watch: Watch) -> None:
            left.append(watch)
            socket.watches.popitem()  # as `deliver` does for a job that ends meanwhile

    async def gone() -> dict[str, Any]:
        return {"type": "websocket.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        closed.append(message)

    monkeypatch.setattr(live, "_hub", [cast("Hub", Busy())])
    socket = live.Socket(gone, send, "token", cast("Any", SimpleNamespace(id=None, session_id=None)))
    socket.watches = {UUID(int=number): Watch(UUID(int=number), streams.START, lambda *_: None) for number in range(3)}
    watched = list(socket.watches.values())

    await socket.serve()

    assert left == watched
    assert [message["type"] for message in closed] == ["websocket.close"]
