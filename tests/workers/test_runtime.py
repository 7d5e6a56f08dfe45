"""What becomes of an attempt: each way to end it, on the test's own loop, with the real rows and the real wire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core import claims, jobs, streams
from core.database import transaction
from core.errors import NotFound, Unavailable
from core.jobs import Job, JobState
from core.queue import TaskName
from tests.house import House
from tests.workers.here import Here

if TYPE_CHECKING:
    from workers.process import Process
    from workers.runtime import Run

NAME = TaskName.RENDER_ANEW  # one without a hook
Body = Callable[["Run"], Awaitable[dict[str, Any] | None]]


@pytest.fixture
async def here(house: House) -> "AsyncIterator[Process]":
    """As much of a worker process as an attempt needs."""
    async with Here.open() as made:
        yield cast("Process", made)


async def make_job(**values: Any) -> UUID:
    """Somebody's job, unless it is said to be nobody's."""
    values = {"account_id": uuid4()} | values
    async with transaction() as session:
        job_id = await jobs.enqueue(session, NAME, payload={}, delay=timedelta(hours=1))  # nobody else is to take it
        assert job_id is not None
        await session.execute(update(Job).where(Job.id == job_id).values(available_at=func.now(), **values))
    return job_id


async def attempt(here: "Process", job_id: UUID, body: Body, *, seconds: float = 5) -> Job:
    """Try a job once with this body; returns its row as it is then."""
    from workers import runtime  # reads the settings that `house` has set

    await runtime.attempt(here, runtime.Task(NAME, body, timedelta(seconds=seconds)), job_id)
    async with transaction() as session:
        return await session.get_one(Job, job_id)


async def told(here: "Process", job_id: UUID) -> list[str]:
    await asyncio.wait_for(here.wire._idle.wait(), 5)
    return [event.type for event in await streams.read(cast("Any", here).redis, job_id, streams.START)]


async def works(_: "Run") -> dict[str, Any]:
    return {"answer": 42}


async def test_what_a_task_returns_is_the_jobs_result(here: "Process") -> None:
    job_id = await make_job()

    job = await attempt(here, job_id, works)

    assert (job.state, job.result, job.claim) == (JobState.DONE, {"answer": 42}, None)
    assert await told(here, job_id) == ["started", "done"]
    assert here.runs == {}


async def test_a_job_without_an_owner_tells_nobody_and_ends_all_the_same(here: "Process") -> None:
    job_id = await make_job(account_id=None)

    job = await attempt(here, job_id, works)

    assert (job.state, job.result) == (JobState.DONE, {"answer": 42})
    assert await told(here, job_id) == []


async def test_a_doubled_message_does_nothing(here: "Process") -> None:
    job_id = await make_job()
    ran = []

    async def once(run: "Run") -> None:
        ran.append(run.job.attempts)
        await asyncio.sleep(0)

    await asyncio.gather(*[attempt(here, job_id, once) for _ in range(10)])

    assert ran == [1]


async def test_what_is_unavailable_is_tried_again_later(here: "Process") -> None:
    job_id = await make_job()

    async def busy(_: "Run") -> None:
        raise Unavailable

    job = await attempt(here, job_id, busy)

    assert (job.state, job.error, job.dead) == (JobState.QUEUED, "unavailable", False)
    async with transaction() as session:
        assert await session.scalar(select(Job.available_at > func.now()).where(Job.id == job_id))
    assert await told(here, job_id) == ["started", "queued"]


async def test_the_last_attempt_gives_up_and_is_kept_for_an_operator(here: "Process") -> None:
    job_id = await make_job(max_attempts=1)

    async def busy(_: "Run") -> None:
        raise Unavailable

    job = await attempt(here, job_id, busy)

    assert (job.state, job.error, job.dead) == (JobState.FAILED, "unavailable", True)
    assert await told(here, job_id) == ["started", "failed"]


async def test_what_cannot_get_better_is_given_up_at_once(here: "Process") -> None:
    job_id = await make_job()

    async def missing(_: "Run") -> None:
        raise NotFound

    job = await attempt(here, job_id, missing)

    assert (job.state, job.error, job.dead) == (JobState.FAILED, "not-found", False)


async def test_a_crash_is_tried_again(here: "Process") -> None:
    job_id = await make_job()

    async def crash(_: "Run") -> None:
        raise ZeroDivisionError

    job = await attempt(here, job_id, crash)

    assert (job.state, job.error) == (JobState.QUEUED, "internal")


async def test_an_attempt_has_a_time_limit_and_its_coroutine_ends_with_it(here: "Process") -> None:
    job_id = await make_job()
    ended = asyncio.Event()

    async def hang(_: "Run") -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    job = await attempt(here, job_id, hang, seconds=0.05)

    assert (job.state, job.error) == (JobState.QUEUED, "timed-out")
    assert ended.is_set()


async def test_an_attempt_that_was_taken_over_writes_nothing(here: "Process") -> None:
    job_id = await make_job()

    async def slow(run: "Run") -> dict[str, Any]:
        async with transaction() as session:
            await session.execute(
                update(Job).where(Job.id == job_id).values(lease_until=func.now() - timedelta(seconds=1))
            )
        assert await claims.claim(job_id) is not None
        return {"by": "the old one"}

    job = await attempt(here, job_id, slow)

    assert (job.state, job.attempts, job.result) == (JobState.RUNNING, 2, None)
    assert await told(here, job_id) == ["started"]


async def test_a_stop_ends_the_part_that_allows_for_it_and_keeps_what_there_is(here: "Process") -> None:
    job_id = await make_job()

    async def patient(run: "Run") -> None:
        async with run.until_stopped():
            run.interrupt("stop")
            await asyncio.Event().wait()
        async with transaction() as session:
            await run.finish(session, {"kept": run.stopped}, JobState.CANCELLED)

    job = await attempt(here, job_id, patient)

    assert (job.state, job.result) == (JobState.CANCELLED, {"kept": True})
    assert await told(here, job_id) == ["started", "cancelled"]


async def test_a_stop_that_comes_after_that_part_changes_nothing(here: "Process") -> None:
    """Else who stops at the very end would have the whole answer for nothing."""
    job_id = await make_job()

    async def complete(run: "Run") -> dict[str, Any]:
        async with run.until_stopped():
            pass
        run.interrupt("stop")
        await asyncio.sleep(0)
        return {"kept": True}

    job = await attempt(here, job_id, complete)

    assert (job.state, job.result) == (JobState.DONE, {"kept": True})


async def test_a_stop_ends_a_task_that_allows_for_none(here: "Process") -> None:
    job_id = await make_job()

    async def deaf(run: "Run") -> None:
        run.interrupt("stop")
        await asyncio.Event().wait()

    job = await attempt(here, job_id, deaf)

    assert (job.state, job.error) == (JobState.CANCELLED, "cancelled")
    assert await told(here, job_id) == ["started", "cancelled"]


async def test_a_job_that_was_stopped_while_it_waited_is_not_begun(here: "Process") -> None:
    job_id = await make_job(cancel_requested_at=func.now())

    async def never(_: "Run") -> None:
        raise AssertionError

    job = await attempt(here, job_id, never)

    assert job.state == JobState.CANCELLED


async def test_a_drain_gives_the_job_back_for_another_worker(here: "Process") -> None:
    job_id = await make_job()

    async def long(run: "Run") -> None:
        run.interrupt("drain")
        await asyncio.Event().wait()

    job = await attempt(here, job_id, long)

    assert (job.state, job.claim) == (JobState.QUEUED, None)
    assert await told(here, job_id) == ["started"]
    done = await attempt(here, job_id, works)
    assert (done.state, done.attempts) == (JobState.DONE, 2)
    assert await told(here, job_id) == ["started", "restarted", "done"]


async def test_a_tick_makes_one_job_for_its_slot_however_many_beats_there_are(house: House) -> None:
    from workers.runtime import tick

    period = 10**6 + uuid4().int % 10**6  # a slot of this test's own
    await asyncio.gather(*[tick(NAME, period) for _ in range(10)])

    async with transaction() as session:
        made = select(func.count()).where(Job.key.like(f"{NAME}:%"), Job.created_at > func.now() - timedelta(minutes=1))
        assert await session.scalar(made) == 1


async def test_a_keeper_survives_what_nobody_expected(house: House) -> None:
    """Else one job that cannot be ended would stop the heartbeats and sweeps of all."""
    from workers.process import Process

    turns, third = 0, asyncio.Event()

    async def crash() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            third.set()
        raise KeyError

    keeper = asyncio.create_task(Process._for_ever(cast("Process", None), "a test's", 0, crash))
    await asyncio.wait_for(third.wait(), 2)
    assert not keeper.done()
    keeper.cancel()


def test_a_bare_async_task_stops_the_start(house: House) -> None:
    from workers.consumer import refuse_bare_coroutines

    async def bare() -> None: ...

    with pytest.raises(SystemExit, match="sum"):
        refuse_bare_coroutines({"sum": SimpleNamespace(run=bare), "fine": SimpleNamespace(run=print)})
