"""The promise: whatever is done later is a row here, written in the same transaction as its cause.

A Celery message is only the doorbell. A worker claims the row by lease and fences every write with its
claim, so a doubled message finds the row taken, and a lost one is rung again by the sweep (core/claims.py).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import CheckConstraint, Index, SmallInteger, and_, case, func, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core import queue
from core.database import Base, after_commit, statement
from core.direct import Hot, Unit, direct
from core.errors import ClofyError, Kind, NotFound
from core.queue import POLICIES, TaskName

FIRST_RING = timedelta(seconds=5)  # the enqueuer rings at once; the sweeper rings again when nobody came by then


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state in ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
        CheckConstraint("(state = 'running') = (claim is not null)", name="claimed_while_running"),
        CheckConstraint("(state = 'running') = (lease_until is not null)", name="leased_while_running"),
        CheckConstraint("(state in ('queued', 'running')) = (finished_at is null)", name="ended_has_date"),
        Index("ix_jobs_to_ring", "ring_at", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_leased", "lease_until", postgresql_where=text("state = 'running'")),
        # The purge's; not of jobs that go on, each step of which would have to be written in it too.
        Index("ix_jobs_finished_at", "finished_at", postgresql_where=text("finished_at is not null")),
        Index("ix_jobs_dead", "finished_at", postgresql_where=text("dead")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    task: Mapped[str]
    queue: Mapped[str]
    key: Mapped[str | None] = mapped_column(unique=True)  # what it is for, when it may be asked for only once
    account_id: Mapped[UUID | None]  # who may watch and cancel it
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)  # ids, never content
    state: Mapped[str] = mapped_column(server_default=JobState.QUEUED)
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # claims so far; the fence of its stream
    max_attempts: Mapped[int] = mapped_column(SmallInteger)
    backoff: Mapped[float]  # seconds before the second attempt; doubles
    backoff_cap: Mapped[float]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())  # not to be claimed before
    ring_at: Mapped[datetime]  # while queued: when the sweeper rings Celery (again)
    rings: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    claim: Mapped[UUID | None]  # whose writes count
    lease_until: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[str | None]  # the code of the last thing that went wrong
    dead: Mapped[bool] = mapped_column(server_default=text("false"))  # given up, kept for an operator
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class NotDead(ClofyError):
    """Only a job that was given up can be queued again."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Glimpse:
    """What a watcher needs to know of a job."""

    id: UUID
    attempts: int
    state: str
    result: dict[str, Any] | None
    error: str | None


EndHook = Callable[[AsyncSession, Job, JobState, str], Awaitable[None]]
_end_hooks: dict[str, EndHook] = {}
NOTHING_TO_UNDO = frozenset(
    {
        TaskName.CREDIT_PURCHASE,
        TaskName.ISSUE_RECEIPT,
        TaskName.RECONCILE,
        TaskName.PUBLISH_POST,
        TaskName.RENDER_ANEW,
        TaskName.SWEEP_MEDIA,
        TaskName.TELL_POLICIES,
        TaskName.CHECK_POLICIES,
        TaskName.EXPIRE_HOLDS,
        TaskName.PREPARE_PARTITIONS,
        TaskName.PURGE,
        TaskName.ARCHIVE,
        TaskName.SNAPSHOT,
        TaskName.DRILL,
        TaskName.LOST_FACTORS,
        TaskName.CHECK_LEDGER,
        TaskName.RESEAL,
        TaskName.ERASE,  # the hourly look begins it anew
        TaskName.ERASURES,
        TaskName.REMIND,
        TaskName.LOW_BALANCE,
    }
)


def on_end(task: TaskName) -> Callable[[EndHook], EndHook]:
    """Register what is done, in the same transaction, when a job ends without its task having finished it.

    Called with the job, FAILED or CANCELLED, and a reason. A process that ends jobs must have imported it: one that
    has not fails to end them, rather than leave a hold behind.
    """

    def register(hook: EndHook) -> EndHook:
        _end_hooks[task] = hook
        return hook

    return register


# Of a statement, also of one that writes more at the same time (core/consultations/conversation.py).
ENQUEUE = """
    insert into jobs
        (id, task, queue, key, account_id, payload, max_attempts, backoff, backoff_cap, available_at, ring_at)
    select cast(:job_id as uuid), cast(:task as text), cast(:queue as text), cast(:key as text),
           cast(:account_id as uuid), cast(:payload as jsonb), cast(:max_attempts as int),
           cast(:backoff as float), cast(:backoff_cap as float),
           now() + cast(:wait as interval), now() + cast(:ring_in as interval)
"""
_ENQUEUE = Hot(ENQUEUE + "on conflict (key) do nothing returning id")


def refuse_unknown_ends() -> None:
    """Stop the start of a process that could end a job without knowing what is to be undone then: a hold would stay."""
    unknown = [name for name in TaskName if name not in _end_hooks and name not in NOTHING_TO_UNDO]
    if unknown:
        raise RuntimeError(f"no on_end hook was imported for {', '.join(unknown)}")


async def enqueue(
    session: Unit,
    task: TaskName,
    *,
    payload: dict[str, Any],
    account_id: UUID | None = None,
    key: str | None = None,
    delay: timedelta | None = None,
    job_id: UUID | None = None,
) -> UUID | None:
    """Write a job with the caller's rows; after the commit its id is rung to Celery.

    payload: ids, never content
    key: what it is for; a second job with the same key is not written, and None is returned
    delay: not before this time from now
    """
    job_id = job_id or uuid4()
    facts = facts_of(task, job_id, payload=payload, account_id=account_id, key=key, delay=delay)
    if await _ENQUEUE.one(session, **facts) is None:
        return None
    if not delay:
        ring_then(session, task, job_id)
    return job_id


def facts_of(
    task: TaskName,
    job_id: UUID,
    *,
    payload: dict[str, Any],
    account_id: UUID | None = None,
    key: str | None = None,
    delay: timedelta | None = None,
) -> dict[str, Any]:
    """What ENQUEUE is given."""
    policy = POLICIES[task]
    wait = delay or timedelta()
    return {
        "job_id": job_id,
        "task": task,
        "queue": policy.queue,
        "key": key,
        "account_id": account_id,
        "payload": orjson.dumps(payload).decode(),
        "max_attempts": policy.attempts,
        "backoff": policy.backoff,
        "backoff_cap": policy.backoff_cap,
        "wait": wait,
        "ring_in": wait or FIRST_RING,
    }


def ring_then(session: Unit, task: TaskName, job_id: UUID) -> None:
    """Ring a job once the transaction that writes it is committed."""
    after_commit(session, lambda: queue.ring([(task, job_id)]))


def end_of(job: Job | Glimpse) -> tuple[int, str, dict[str, Any]]:
    """What watchers are told of an ended job: how many attempts there were, how it ended, and the result."""
    return job.attempts, job.state, {"result": job.result, "reason": job.error}


async def tell_slice(session: AsyncSession, job: Job, state: JobState, reason: str) -> None:
    if job.task not in NOTHING_TO_UNDO:
        await _end_hooks[job.task](session, job, state, reason)


# Of a statement, also of one that asks for more at the same time (web/live.py).
GLIMPSE = """
    select id, attempts, state, cast(result as text), error from jobs
    where id = :id and account_id = :account_id
"""
_GLIMPSE = Hot(GLIMPSE)


async def glimpse(job_id: UUID, *, account_id: UUID) -> Glimpse:
    """The account's own job, in one statement. Raises NotFound for anything else."""
    async with direct() as unit:
        row = await _GLIMPSE.one(unit, id=job_id, account_id=account_id)
    if row is None:
        raise NotFound(job=job_id)
    return glimpsed(*row)


def glimpsed(job_id: UUID, attempts: int, state: str, result: str | None, error: str | None) -> Glimpse:
    """From the columns of GLIMPSE."""
    return Glimpse(job_id, attempts, state, orjson.loads(result) if result else None, error)


async def get(session: AsyncSession, job_id: UUID, *, account_id: UUID) -> Job:
    """The account's own job. Raises NotFound for anything else."""
    job = await session.scalar(select(Job).where(Job.id == job_id, Job.account_id == account_id))
    if job is None:
        raise NotFound(job=job_id)
    return job


async def cancel(session: AsyncSession, job_id: UUID, *, account_id: UUID) -> Job:
    """Ask a job to stop: one that waits ends here, a running one is stopped by its worker, an ended one stays."""
    query = select(Job).where(Job.id == job_id, Job.account_id == account_id).with_for_update()
    job = await session.scalar(query)
    if job is None:
        raise NotFound(job=job_id)
    await stop(session, job)
    return job


async def stop(session: AsyncSession, job: Job) -> None:
    """As `cancel`, for a job whose row the caller has locked."""
    if job.state == JobState.QUEUED:
        await end_unclaimed(session, job, JobState.CANCELLED, "cancelled", dead=False)
    elif job.state == JobState.RUNNING and job.cancel_requested_at is None:
        job.cancel_requested_at = await now_of(session)
        await session.flush()


async def now_of(session: AsyncSession) -> datetime:
    now: datetime = (
        await session.execute(select(func.now()))
    ).scalar_one()  # the database's clock, the only one that counts
    return now


async def end_unclaimed(session: AsyncSession, job: Job, state: JobState, reason: str, *, dead: bool) -> None:
    now = await now_of(session)  # before the changes, or asking for it would write half of them
    job.state, job.error, job.dead = state, reason, dead
    job.claim = job.lease_until = None
    job.finished_at = now
    await session.flush()
    await tell_slice(session, job, state, reason)


async def requeue_dead(session: AsyncSession, job_id: UUID) -> None:
    """An operator's second chance for a job that was given up. Raises NotFound, NotDead."""
    job = await session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise NotFound(job=job_id)
    if not job.dead:
        raise NotDead(job=job_id)
    job.state, job.dead, job.finished_at = JobState.QUEUED, False, None
    job.attempts += 1  # the end took this number in the stream's ids
    job.max_attempts = job.attempts + POLICIES[TaskName(job.task)].attempts
    job.available_at = job.ring_at = await now_of(session)
    await session.flush()
    after_commit(session, lambda: queue.ring([(TaskName(job.task), job_id)]))


async def counts() -> dict[str, Any]:
    """What an operator watches: jobs by queue that wait, run, are dead; the oldest waiting one's age in seconds."""
    waiting = and_(Job.state == JobState.QUEUED, Job.available_at <= func.now())
    query = select(
        Job.queue,
        func.count(case((waiting, 1))),
        func.count(case((Job.state == JobState.RUNNING, 1))),
        func.coalesce(func.extract("epoch", func.now() - func.min(case((waiting, Job.available_at)))), 0.0),
        func.count(case((Job.dead, 1))),
    ).where(or_(Job.state.in_([JobState.QUEUED, JobState.RUNNING]), Job.dead))
    async with statement() as connection:
        rows = await connection.execute(query.group_by(Job.queue))
        return {
            name: {"waiting": w, "running": r, "oldest_seconds": float(age), "dead": d} for name, w, r, age, d in rows
        }
