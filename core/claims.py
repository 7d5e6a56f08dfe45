"""One attempt at a job: claimed by lease, kept by heartbeats, ended under the fence of its claim; and the two sweeps.

Only workers claim. Whatever an attempt writes is fenced by its claim: when another attempt has taken the job, `finish`
and its like raise LostClaim, and the transaction that they are part of comes to nothing.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import queue
from core.database import after_commit, statement, transaction
from core.direct import Hot, Unit, direct
from core.errors import ClofyError, Kind
from core.jobs import Job, JobState, end_unclaimed, now_of, tell_slice
from core.queue import TaskName

LEASE = timedelta(seconds=20)  # a killed worker's job is taken up again after this; a heartbeat renews it
HEARTBEAT = timedelta(seconds=5)
LONGEST_RING_SECONDS = 600


class LostClaim(ClofyError):
    """Another attempt has taken this job over."""

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


_CLAIM = Hot("""
    update jobs
    set state = 'running', claim = cast(:claim as uuid), attempts = attempts + 1, lease_until = now() + :lease,
        started_at = coalesce(started_at, now())
    where id = :id and attempts < max_attempts
      and ((state = 'queued' and available_at <= now()) or (state = 'running' and lease_until < now()))
    returning id, task, claim, attempts, cast(payload as text), account_id, cancel_requested_at
""")


async def claim(job_id: UUID) -> Claimed | None:
    """Take a job for one attempt: only one that waits, or whose lease ran out. None: there is nothing to do."""
    async with direct() as unit:
        row = await _CLAIM.one(unit, id=job_id, claim=uuid4(), lease=LEASE)
    if row is None:
        return None
    found_id, task, its_claim, attempts, payload, account_id, cancel_requested_at = row
    return Claimed(found_id, task, its_claim, attempts, orjson.loads(payload), account_id, cancel_requested_at)


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


_FINISH = Hot("""
    update jobs
    set state = :state, result = cast(:result as jsonb), error = null, claim = null, lease_until = null,
        finished_at = now()
    where id = :id and claim = :claim and state = 'running'
    returning id
""")


async def finish(
    session: Unit, claimed: Claimed, result: dict[str, Any] | None, state: JobState = JobState.DONE
) -> None:
    """End a job by its own task, in the transaction of its effects. Raises LostClaim: then roll all back."""
    told = orjson.dumps(result).decode() if result is not None else None
    if await _FINISH.one(session, id=claimed.id, claim=claimed.claim, state=state, result=told) is None:
        raise LostClaim(job=claimed.id)


async def give_up(session: AsyncSession, claimed: Claimed, state: JobState, reason: str, *, dead: bool) -> Job:
    """End a job without success, with what its slice does then. Raises LostClaim."""
    job = await _fenced(session, claimed, state=state, error=reason, dead=dead, finished_at=func.now())
    await tell_slice(session, job, state, reason)
    return job


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
                await end_unclaimed(session, job, JobState.CANCELLED, "cancelled", dead=False)
                ended.append(job)
            elif job.attempts >= job.max_attempts:
                await end_unclaimed(session, job, JobState.FAILED, "worker-lost", dead=True)
                ended.append(job)
            else:
                job.state, job.claim, job.lease_until, job.rings = JobState.QUEUED, None, None, 0
                job.available_at = job.ring_at = await now_of(session)
    return ended
