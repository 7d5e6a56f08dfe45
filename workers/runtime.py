"""@task: from a doorbell to a fenced end. Claim, time limit, retry, give up, report and drain are here."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from core import claims, jobs
from core.claims import Claimed, LostClaim
from core.database import transaction
from core.direct import Unit
from core.errors import ClofyError, Kind
from core.jobs import JobState
from core.queue import TICK, TaskName, celery
from core.streams import Writer
from core.telemetry import log
from workers.process import Process, process

Why = Literal["stop", "drain", "lost"]
Body = Callable[["Run"], Awaitable[dict[str, Any] | None]]


@dataclass(eq=False)
class Run:
    """One attempt at a job, as its task sees it."""

    job: Claimed
    out: Writer  # what the owner's browsers are told meanwhile
    interrupted: Why | None = None
    finished: tuple[JobState, dict[str, Any] | None] | None = None
    _scope: asyncio.Timeout | None = None
    _past_scope: bool = False
    _task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tell watchers how the job fares; one without an owner has none."""
        if self.job.account_id is not None:
            self.out.emit(kind, data)

    @property
    def stopped(self) -> bool:
        """Whether its owner asked to stop it."""
        return self.interrupted == "stop"

    async def finish(
        self, session: Unit, result: dict[str, Any] | None = None, state: JobState = JobState.DONE
    ) -> None:
        """End the job in the transaction of its effects, fenced: raises LostClaim when another attempt has taken it."""
        await claims.finish(session, self.job, result, state)
        self.finished = (state, result)

    @asynccontextmanager
    async def until_stopped(self) -> AsyncIterator[None]:
        """A part that a stop ends, and only a stop, without an error; what follows may keep what there is by then."""
        try:
            async with asyncio.timeout(0 if self.stopped else None) as self._scope:
                yield
        except TimeoutError:
            if not self.stopped:
                raise
        finally:
            self._scope, self._past_scope = None, True

    def interrupt(self, why: Why) -> None:
        """From the loop: a stop ends the part that allows for it, where there is one; all else ends the attempt.

        A stop that comes after that part is too late: what was made is being kept, and paid for.
        """
        if self.interrupted is not None or self.finished is not None or (why == "stop" and self._past_scope):
            return
        self.interrupted = why
        if why == "stop" and self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())
        elif self._task is not None:
            self._task.cancel()


@dataclass(frozen=True)
class Task:
    name: TaskName
    body: Body
    time_allowed: timedelta


TASKS: dict[TaskName, Task] = {}


def task(name: TaskName, *, time_allowed: timedelta) -> Callable[[Body], Task]:
    """Make a coroutine function the task of that name. Its message carries the id of a job, or beat's tick.

    time_allowed: for one attempt; more is an error like any other
    """

    def register(body: Body) -> Task:
        made = TASKS[name] = Task(name, body, time_allowed)

        @celery().task(name=name)
        def ring(job: str) -> None:
            here = process()
            if job.startswith(TICK):
                here.run(tick(name, int(job.removeprefix(TICK))))
                return
            job_id = UUID(job)
            if (lane := here.lanes.get(name)) is not None:
                here.loop.call_soon_threadsafe(lane.join, job_id, partial(attempt, here, made, job_id))
            else:
                here.run(attempt(here, made, job_id))

        return made

    return register


async def tick(name: TaskName, period: int) -> None:
    """Beat's message: one job for each slot of `period` seconds, however many beats there are."""
    slot = int(time.time()) // period
    async with transaction() as session:
        await jobs.enqueue(session, name, payload={}, key=f"{name}:{slot}")


async def attempt(here: Process, made: Task, job_id: UUID) -> None:
    """Claim a job and try it once. A doubled message, or one that came too early, finds nothing to do."""
    claimed = await claims.claim(job_id)
    if claimed is None:
        return
    run = Run(claimed, here.wire.writer(claimed.id, claimed.attempts))
    here.runs[claimed.claim] = run
    facts = {"task": made.name, "job": str(job_id), "attempt": claimed.attempts}
    try:
        await _try(run, made)
    except LostClaim:
        log(__name__).warning("claim_lost", **facts)
    except asyncio.CancelledError:
        if run.interrupted is None:
            raise  # the loop itself is closed
        await _interrupted(run)
    except ClofyError as error:
        log(__name__).warning("attempt_failed", error=error.code, **facts, **_plain(error.facts))
        again = error.kind is Kind.UNAVAILABLE
        await _fail(run, error.code, again=again, wait=getattr(error, "retry_after", None))
    except TimeoutError:
        log(__name__).error("attempt_timed_out", allowed=made.time_allowed.total_seconds(), **facts)
        await _fail(run, "timed-out", again=True)
    except Exception:
        log(__name__).exception("attempt_crashed", **facts)
        await _fail(run, "internal", again=True)
    finally:
        del here.runs[claimed.claim]


async def _try(run: Run, made: Task) -> None:
    if run.job.cancel_requested_at is not None:
        run.interrupted = "stop"
        raise asyncio.CancelledError
    if run.job.account_id is not None:
        begun = "started" if run.job.attempts == 1 else "restarted"
        run.out.begin(begun, {"attempt": run.job.attempts, "text": "", "tokens": 0})
    async with asyncio.timeout(made.time_allowed.total_seconds()):
        result = await made.body(run)
    if run.finished is None:
        async with transaction() as session:
            await run.finish(session, result)
    assert run.finished is not None
    state, result = run.finished
    run.tell(state, {"result": result, "reason": None})


async def _fail(run: Run, reason: str, *, again: bool, wait: float | None = None) -> None:
    """Queue the job again where that may help and an attempt is left; else give it up, kept for an operator to see."""
    if run.finished:  # done and committed; only the report failed
        return
    try:
        async with transaction() as session:
            seconds = await claims.put_back(session, run.job, reason, wait=wait) if again else None
            if seconds is None:
                await claims.give_up(session, run.job, JobState.FAILED, reason, dead=again)
    except LostClaim:
        return
    if seconds is None:
        run.tell(JobState.FAILED, {"result": None, "reason": reason})
    else:
        run.tell("queued", {"again_in": round(seconds, 1), "reason": reason})


async def _interrupted(run: Run) -> None:
    """The attempt was cancelled by us: its owner stopped it, this worker drains, or another attempt has the job."""
    if run.finished or run.interrupted == "lost":
        return
    try:
        async with transaction() as session:
            if run.interrupted == "drain":
                await claims.hand_over(session, run.job)
            else:
                await claims.give_up(session, run.job, JobState.CANCELLED, "cancelled", dead=False)
    except LostClaim:
        return
    if run.interrupted == "stop":
        run.tell(JobState.CANCELLED, {"result": None, "reason": "cancelled"})


def _plain(facts: dict[str, object]) -> dict[str, object]:
    return {f"fact_{name}": str(value) for name, value in facts.items()}
