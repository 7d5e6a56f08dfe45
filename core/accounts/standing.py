"""What an account may: disabled, enabled again, admin or not. Whoever changes it says why."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.accounts.models import Account, Role
from core.audit import NOBODY, Action, Caller
from core.errors import NotFound
from core.jobs import Job, JobState


async def disable(
    session: AsyncSession, *, account_id: UUID, reason: str, actor_id: UUID | None = None, caller: Caller = NOBODY
) -> Sequence[UUID]:
    """Shut an account: its sessions end with this, its sockets within seconds, and what it had asked for is stopped.

    Returns the jobs that run. Once this is committed, core.streams.ask_to_stop stops them at once; each is settled by
    its worker, which learns of it from its next heartbeat in any case.
    """
    account = await _locked(session, account_id)
    if account.disabled_at is None:
        account.disabled_at = func.now()
        facts = {"reason": reason}
        await audit.note(session, Action.DISABLED, account_id=account_id, actor_id=actor_id, caller=caller, facts=facts)
    open_jobs = select(Job).where(Job.account_id == account_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
    running = []
    for job in await session.scalars(open_jobs.order_by(Job.id).with_for_update()):
        await jobs.stop(session, job)
        if job.state == JobState.RUNNING:
            running.append(job.id)
    return running


async def enable(
    session: AsyncSession, *, account_id: UUID, reason: str, actor_id: UUID | None = None, caller: Caller = NOBODY
) -> None:
    """Open it again; its owner signs in anew. Raises NotFound, also for one that is erased."""
    account = await _locked(session, account_id)
    if account.erased_at is not None:
        raise NotFound(account=account_id)
    if account.disabled_at is not None:
        account.disabled_at = None
        facts = {"reason": reason}
        await audit.note(session, Action.ENABLED, account_id=account_id, actor_id=actor_id, caller=caller, facts=facts)


async def change_role(
    session: AsyncSession,
    *,
    account_id: UUID,
    role: Role,
    reason: str,
    actor_id: UUID | None = None,
    caller: Caller = NOBODY,
) -> None:
    """Its sessions end with this: nobody goes on as what they were."""
    account = await _locked(session, account_id)
    if account.role != role:
        facts = {"reason": reason, "from": account.role, "to": role}
        account.role = role
        await audit.note(
            session, Action.ROLE_CHANGED, account_id=account_id, actor_id=actor_id, caller=caller, facts=facts
        )


async def _locked(session: AsyncSession, account_id: UUID) -> Account:
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        raise NotFound(account=account_id)
    return account
