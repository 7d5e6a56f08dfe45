"""The promise: whatever is done later is a row here, written in the same transaction as its cause.

A Celery message is only the doorbell. A worker claims the row by lease and fences every write with its
claim, so a doubled message finds the row taken, and a lost one is rung again by `sweep`.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, Index, SmallInteger, and_, case, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core import queue
from core.database import Base, after_commit, statement, transaction
from core.errors import ClofyError, Kind, NotFound
from core.queue import POLICIES, TaskName

LEASE = timedelta(seconds=20)  # a killed worker's job is taken up again after this; a heartbeat renews it
HEARTBEAT = timedelta(seconds=5)
FIRST_RING = timedelta(seconds=5)  # the enqueuer rings at once; the sweeper rings again when nobody came by then
LONGEST_RING_SECONDS = 600


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


class LostClaim(ClofyError):
    """Another attempt has taken this job over."""

    kind = Kind.CONFLICT


class NotDead(ClofyError):
    """Only a job that was given up can be queued again."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Claimed:
    """One attempt at a job, and the fence of all it writes."""

    id: UUID
    task: str
    claim: UUID
    attempts: int
    payload: dict[str, Any]
    account_id: UUID | None
    cancel_requested_at: datetime | None


EndHook = Callable[[AsyncSession, Job, JobState, str], Awaitable[None]]
_end_hooks: dict[str, EndHook] = {}


def on_end(task: TaskName) -> Callable[[EndHook], EndHook]:
    """Register what is done, in the same transaction, when a job ends without its task having finished it.

    Called with the job, FAILED or CANCELLED, and a reason. A task that has nothing to undo registers none.
    """

    def register(hook: EndHook) -> EndHook:
        _end_hooks[task] = hook
        return hook

    return register


async def enqueue(
    session: AsyncSession,
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
    policy = POLICIES[task]
    job_id = job_id or uuid4()
    wait = delay or timedelta()
    row = insert(Job).values(
        id=job_id,
        task=task,
        queue=policy.queue,
        key=key,
        account_id=account_id,
        payload=payload,
        max_attempts=policy.attempts,
        backoff=policy.backoff,
        backoff_cap=policy.backoff_cap,
        available_at=func.now() + wait,
        ring_at=func.now() + (wait or FIRST_RING),
    )
    if key is None:
        await session.execute(row)
    elif await session.scalar(row.on_conflict_do_nothing(index_elements=["key"]).returning(Job.id)) is None:
        return None
    if not wait:
        after_commit(session, lambda: queue.ring([(task, job_id)]))
    return job_id


_CLAIM = (
    update(Job)
    .where(
        Job.attempts < Job.max_attempts,
        or_(
            and_(Job.state == JobState.QUEUED, Job.available_at <= func.now()),
            and_(Job.state == JobState.RUNNING, Job.lease_until < func.now()),
        ),
    )
    .values(
        state=JobState.RUNNING,
        attempts=Job.attempts + 1,
        lease_until=func.now() + LEASE,
        started_at=func.coalesce(Job.started_at, func.now()),
    )
    .returning(Job.id, Job.task, Job.claim, Job.attempts, Job.payload, Job.account_id, Job.cancel_requested_at)
)


async def claim(job_id: UUID) -> Claimed | None:
    """Take a job for one attempt: only one that waits, or whose lease ran out. None: there is nothing to do."""
    async with statement() as connection:
        row = (await connection.execute(_CLAIM.where(Job.id == job_id).values(claim=uuid4()))).one_or_none()
    return Claimed(*row) if row else None


async def heartbeat(claimed: Iterable[Claimed]) -> dict[UUID, bool]:
    """Renew the leases. Returns the jobs that are still ours, and whether each was asked to stop."""
    held = list(claimed)
    renew = (
        update(Job)
        .where(
            Job.id.in_([one.id for one in held]),
            Job.claim.in_([one.claim for one in held]),
            Job.state == JobState.RUNNING,
        )
        .values(lease_until=func.now() + LEASE)
        .returning(Job.id, Job.cancel_requested_at)
    )
    async with statement() as connection:
        return {job_id: asked is not None for job_id, asked in await connection.execute(renew)}


async def _fenced(session: AsyncSession, claimed: Claimed, **values: Any) -> Job:
    change = (
        update(Job)
        .where(Job.id == claimed.id, Job.claim == claimed.claim, Job.state == JobState.RUNNING)
        .values(claim=None, lease_until=None, **values)
        .returning(Job)
    )
    job = await session.scalar(change)
    if job is None:
        raise LostClaim(job=claimed.id)
    return job


async def finish(
    session: AsyncSession, claimed: Claimed, result: dict[str, Any] | None, state: JobState = JobState.DONE
) -> None:
    """End a job by its own task, in the transaction of its effects. Raises LostClaim: then roll all back."""
    await _fenced(session, claimed, state=state, result=result, error=None, finished_at=func.now())


async def give_up(session: AsyncSession, claimed: Claimed, state: JobState, reason: str, *, dead: bool) -> Job:
    """End a job without success, with what its slice does then. Raises LostClaim."""
    job = await _fenced(session, claimed, state=state, error=reason, dead=dead, finished_at=func.now())
    await _tell_slice(session, job, state, reason)
    return job


def end_of(job: Job) -> tuple[int, str, dict[str, Any]]:
    """What watchers are told of an ended job: how many attempts there were, how it ended, and the result."""
    return job.attempts, job.state, {"result": job.result, "reason": job.error}


async def _tell_slice(session: AsyncSession, job: Job, state: JobState, reason: str) -> None:
    if hook := _end_hooks.get(job.task):
        await hook(session, job, state, reason)


async def put_back(session: AsyncSession, claimed: Claimed, reason: str, *, wait: float | None) -> float | None:
    """Queue a job again after an attempt that did not succeed. Raises LostClaim.

    wait: seconds that the other side asked for; None for the job's own back-off
    Returns the seconds until the next attempt, or None when there is none left (nothing is changed then).
    """
    job = await session.get_one(Job, claimed.id, with_for_update=True)
    if job.claim != claimed.claim:
        raise LostClaim(job=claimed.id)
    if job.attempts >= job.max_attempts:
        return None
    backoff: float = min(job.backoff * 2 ** (job.attempts - 1), job.backoff_cap)
    seconds = max(wait or 0.0, backoff * random.uniform(0.75, 1.25))  # noqa: S311  # spreads a herd; no secret
    when = func.now() + timedelta(seconds=seconds)
    await _fenced(session, claimed, state=JobState.QUEUED, error=reason, available_at=when, ring_at=when, rings=0)
    return seconds


async def hand_over(session: AsyncSession, claimed: Claimed) -> None:
    """Give a running job back at once, because this worker stops; the attempt does not count against it."""
    values = {"available_at": func.now(), "ring_at": func.now(), "rings": 0, "max_attempts": Job.max_attempts + 1}
    await _fenced(session, claimed, state=JobState.QUEUED, **values)
    after_commit(session, lambda: queue.ring([(TaskName(claimed.task), claimed.id)]))


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
        await _end_unclaimed(session, job, JobState.CANCELLED, "cancelled", dead=False)
    elif job.state == JobState.RUNNING and job.cancel_requested_at is None:
        job.cancel_requested_at = await _now(session)
        await session.flush()


async def _now(session: AsyncSession) -> datetime:
    now: datetime = (
        await session.execute(select(func.now()))
    ).scalar_one()  # the database's clock, the only one that counts
    return now


async def _end_unclaimed(session: AsyncSession, job: Job, state: JobState, reason: str, *, dead: bool) -> None:
    now = await _now(session)  # before the changes, or asking for it would write half of them
    job.state, job.error, job.dead = state, reason, dead
    job.claim = job.lease_until = None
    job.finished_at = now
    await session.flush()
    await _tell_slice(session, job, state, reason)


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
    job.available_at = job.ring_at = await _now(session)
    await session.flush()
    after_commit(session, lambda: queue.ring([(TaskName(job.task), job_id)]))


async def ring_due(*, limit: int = 200) -> int:
    """The first sweep: ring waiting jobs that nobody has claimed by their `ring_at`; less and less often for each.

    Returns how many were due.
    """
    due = (
        select(Job.id)
        .where(Job.state == JobState.QUEUED, Job.ring_at <= func.now())
        .order_by(Job.ring_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    seconds = func.least(5 * func.power(4, func.least(Job.rings, 6)), LONGEST_RING_SECONDS)
    again = (
        update(Job)
        .where(Job.id.in_(due.scalar_subquery()))
        .values(ring_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds), rings=Job.rings + 1)
        .returning(Job.task, Job.id)
    )
    async with statement() as connection:
        rung = [(TaskName(task), job_id) for task, job_id in await connection.execute(again)]
    if rung and not await queue.ring_now(rung):  # Redis is away: as if we had not tried
        undo = update(Job).where(Job.id.in_([job_id for _, job_id in rung]), Job.state == JobState.QUEUED)
        async with statement() as connection:
            await connection.execute(undo.values(ring_at=func.now() + timedelta(seconds=1), rings=Job.rings - 1))
    return len(rung)


async def take_back_abandoned(*, limit: int = 100) -> list[Job]:
    """The second sweep: jobs whose lease ran out are queued again, or ended when they may not be.

    Returns those that ended here, for the caller to tell their watchers.
    """
    abandoned = (
        select(Job)
        .where(Job.state == JobState.RUNNING, Job.lease_until < func.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ended: list[Job] = []
    async with transaction() as session:
        for job in await session.scalars(abandoned):
            if job.cancel_requested_at is not None:
                await _end_unclaimed(session, job, JobState.CANCELLED, "cancelled", dead=False)
                ended.append(job)
            elif job.attempts >= job.max_attempts:
                await _end_unclaimed(session, job, JobState.FAILED, "worker-lost", dead=True)
                ended.append(job)
            else:
                job.state, job.claim, job.lease_until, job.rings = JobState.QUEUED, None, None, 0
                job.available_at = job.ring_at = await _now(session)
    return ended


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
