"""The erasure of an account: asked for, undone within seven days, and how it stands. The doing is erasure_steps.py.

While it can be undone the account is closing: who signs in can read, export, ask for refunds and undo, and no more
(web/session.py).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.accounts.factors.models import SignInAttempt
from core.accounts.models import Account, Role
from core.accounts.web_sessions import end_all_sessions
from core.audit import NOBODY, Action, Caller
from core.errors import ClofyError, Kind, NotFound
from core.mail import deliveries
from core.privacy import requests
from core.privacy.erasure_models import OPEN, AccountErasure, ErasureState
from core.privacy.erasure_rows import erase_rows as erase_rows  # noqa: PLC0414  # by this name others call it
from core.privacy.request_models import State
from core.queue import TaskName

GRACE = timedelta(days=7)
REMINDED = timedelta(days=1)  # before it is due
OVERDUE = timedelta(days=1)  # after it was due: an alarm


class LastAdmin(ClofyError):
    """You are the only admin here. Make somebody else an admin first; then your account can be erased."""

    kind = Kind.CONFLICT


class TooLateToUndo(ClofyError):
    """The seven days are over, and the erasure has begun. It cannot be undone any more."""

    kind = Kind.CONFLICT


async def begin(
    session: AsyncSession,
    *,
    account_id: UUID,
    now: datetime,
    request_id: UUID | None = None,
    caller: Caller = NOBODY,
    child: bool = False,
) -> AccountErasure:
    """Have an account erased in seven days, and sign it out everywhere; asked again, it is the one that is open.

    child: at once, and without a mail that offers to undo it: its owner is under thirteen
    Who calls has made sure that its owner asks, or is a child. Raises NotFound, LastAdmin.
    """
    grace = timedelta(0) if child else GRACE
    account = await _locked(session, account_id)
    there = await standing(session, account_id)
    if there is not None:
        there.request_id = there.request_id or request_id
        if child:  # the next look at what is due takes it (workers/erasure.py)
            there.due_at = account.closing_at = min(there.due_at, now)
            await session.flush()
        return there
    if await is_last_admin(session, account):
        raise LastAdmin(account=account_id)
    made = AccountErasure(account_id=account_id, request_id=request_id, asked_at=now, due_at=now + grace)
    session.add(made)
    account.closing_at = made.due_at
    await session.flush()
    await end_all_sessions(session, account_id=account_id)
    await session.execute(delete(SignInAttempt).where(SignInAttempt.account_id == account_id))
    about = f"erasure:{made.id}"
    await audit.note(
        session, Action.ERASURE_ASKED, account_id=account_id, caller=caller, about=about, facts={"child": child}
    )
    if not child:
        await tell(session, made, account, "begun")
    await jobs.enqueue(
        session, TaskName.ERASE, payload={"erasure_id": str(made.id)}, key=f"erase:{made.id}", delay=made.due_at - now
    )
    return made


async def undo(session: AsyncSession, *, account_id: UUID, now: datetime, caller: Caller = NOBODY) -> AccountErasure:
    """Keep the account after all. Raises NotFound if nothing is open, TooLateToUndo."""
    account = await _locked(session, account_id)
    made = await standing(session, account_id)
    if made is None:
        raise NotFound(account=account_id)
    if made.state != ErasureState.GRACE:
        raise TooLateToUndo(erasure=made.id)
    made.state, made.ended_at, made.waits_for = ErasureState.UNDONE, now, None
    account.closing_at = None
    await session.flush()
    await audit.note(session, Action.ERASURE_UNDONE, account_id=account_id, caller=caller, about=f"erasure:{made.id}")
    await tell(session, made, account, "undone")
    if made.request_id is not None:
        await requests.close(session, made.request_id, outcome=State.WITHDRAWN, now=now)
    return made


async def standing(session: AsyncSession, account_id: UUID) -> AccountErasure | None:
    """The erasure that is asked for and not done. None: there is none."""
    mine = (AccountErasure.account_id == account_id, AccountErasure.state.in_(OPEN))
    found: AccountErasure | None = await session.scalar(select(AccountErasure).where(*mine))
    return found


async def is_last_admin(session: AsyncSession, account: Account) -> bool:
    """Whether nobody else could look after this house."""
    if account.role != Role.ADMIN:
        return False
    others = (
        Account.role == Role.ADMIN,
        Account.id != account.id,
        Account.disabled_at.is_(None),
        Account.closing_at.is_(None),
        Account.email_verified_at.is_not(None),
    )
    return not await session.scalar(select(select(Account.id).where(*others).exists()))


async def listed(session: AsyncSession, *, due_before: datetime | None = None) -> Sequence[AccountErasure]:
    """The open ones, the first to be due first; due_before: only those that were due by then."""
    query = select(AccountErasure).where(AccountErasure.state.in_(OPEN)).order_by(AccountErasure.due_at)
    if due_before is not None:
        query = query.where(AccountErasure.due_at <= due_before)
    return (await session.scalars(query)).all()


async def remind(session: AsyncSession, *, now: datetime) -> int:
    """Tell those whose last day has come, once each. Returns how many."""
    query = select(AccountErasure).where(
        AccountErasure.state == ErasureState.GRACE,
        AccountErasure.reminded_at.is_(None),
        AccountErasure.due_at <= now + REMINDED,
        AccountErasure.due_at > now,
    )
    made = (await session.scalars(query.with_for_update(skip_locked=True))).all()
    for one in made:
        one.reminded_at = now
        account = await session.get(Account, one.account_id)
        if account is not None:
            await tell(session, one, account, "soon")
    return len(made)


async def tell(session: AsyncSession, made: AccountErasure, account: Account, what: str, **facts: str) -> None:
    """Write to the account's owner, and in the inbox; once for each occasion."""
    await deliveries.send(
        session,
        key=f"erasure:{made.id}:{what}",
        account_id=account.id,
        recipient=account.email,
        template=f"erasure_{what}",
        facts={"name": account.name, "due": day(made.due_at), **facts},
    )


def day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


async def _locked(session: AsyncSession, account_id: UUID) -> Account:
    """Raises NotFound, also for one that is erased."""
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None or account.erased_at is not None:
        raise NotFound(account=account_id)
    return account
