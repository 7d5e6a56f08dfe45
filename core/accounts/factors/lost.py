"""The way back in for who has lost the second factor: password and mailbox, and three days in which anybody may object.

Strong on purpose: with both in the hands of a stranger, the owner's only help is the time and the daily mails.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.factors import passkeys, recovery, totp
from core.accounts.factors.changes import tell
from core.accounts.factors.models import LostFactor, SignInAttempt
from core.accounts.models import Account
from core.accounts.web_sessions import end_all_sessions
from core.audit import Action, Caller
from core.errors import NotFound
from core.mail.deliveries import send
from core.secrets import is_signed, sign

WAIT = timedelta(hours=72)
REMINDED_EVERY = timedelta(days=1)
STOPPED, DONE = "stopped", "done"


def _signed(request_id: UUID) -> bytes:
    return b"lost-factor:" + request_id.bytes


async def ask(session: AsyncSession, *, account: Account, caller: Caller) -> LostFactor:
    """Note that the factor is lost, and tell the owner; asked again, it is the one that is open already.

    The caller has checked password and mailed code, and holds the account's row lock.
    """
    mine = (LostFactor.account_id == account.id, LostFactor.ended_at.is_(None))
    there = await session.scalar(select(LostFactor).where(*mine))
    if there is not None:
        return there
    now = datetime.now(UTC)
    asked = LostFactor(id=uuid4(), account_id=account.id, due_at=now + WAIT, told_at=now)
    session.add(asked)
    await session.flush()
    await audit.note(
        session, Action.LOST_FACTOR_ASKED, account_id=account.id, caller=caller, about=f"lost-factor:{asked.id}"
    )
    await _remind(session, asked, account)
    return asked


async def _remind(session: AsyncSession, asked: LostFactor, account: Account) -> None:
    days_left = round((asked.due_at - asked.told_at) / REMINDED_EVERY)
    await send(
        session,
        key=f"lost_factor:{asked.id}:{days_left}",
        account_id=account.id,
        recipient=account.email,
        template="lost_factor_asked",
        facts={
            "name": account.name,
            "due": f"{asked.due_at.astimezone(UTC):%-d %B %Y, %H:%M} UTC",
            "request": str(asked.id),
            "proof": sign(_signed(asked.id)).hex(),
        },
    )


async def stop(session: AsyncSession, *, account_id: UUID, caller: Caller) -> None:
    """By a signed-in session of the account. Raises NotFound if nothing is open."""
    await _stop(session, LostFactor.account_id == account_id, caller)


async def owner_is_there(session: AsyncSession, *, account_id: UUID, caller: Caller) -> None:
    """Stop what is open, if anything is: the factor was given just now, or the password is another one."""
    with suppress(NotFound):
        await stop(session, account_id=account_id, caller=caller)


async def stop_by_link(session: AsyncSession, *, request_id: UUID, proof: str, caller: Caller) -> None:
    """By what the mails carry. Raises NotFound, for a wrong proof too."""
    try:
        signature = bytes.fromhex(proof)
    except ValueError:
        raise NotFound from None
    if not is_signed(_signed(request_id), signature):
        raise NotFound
    await _stop(session, LostFactor.id == request_id, caller)


async def _stop(session: AsyncSession, which: ColumnElement[bool], caller: Caller) -> None:
    asked, _ = await _locked(session, which)
    asked.ended_at, asked.outcome = func.now(), STOPPED
    await audit.note(
        session, Action.LOST_FACTOR_STOPPED, account_id=asked.account_id, caller=caller, about=f"lost-factor:{asked.id}"
    )
    what = "The request to remove your second factor was stopped. Nothing was changed."
    await tell(session, account_id=asked.account_id, what=what, caller=caller)


async def _locked(session: AsyncSession, which: ColumnElement[bool]) -> tuple[LostFactor, Account]:
    """An open request and its account, whose lock comes first, as a sign-in takes them. Raises NotFound."""
    still = (which, LostFactor.ended_at.is_(None))
    whose = select(LostFactor.account_id).where(*still).scalar_subquery()
    account = await session.scalar(select(Account).where(Account.id == whose).with_for_update())
    asked = await session.scalar(select(LostFactor).where(*still).with_for_update()) if account else None
    if account is None or asked is None:
        raise NotFound
    return asked, account


async def open_requests(session: AsyncSession, *, now: datetime) -> Sequence[UUID]:
    """Those that something is to be done about: whose time has come, or whose owner is to be told once more."""
    due = (LostFactor.due_at <= now) | (LostFactor.told_at <= now - REMINDED_EVERY)
    return (await session.scalars(select(LostFactor.id).where(LostFactor.ended_at.is_(None), due))).all()


async def take_up(session: AsyncSession, request_id: UUID, *, now: datetime) -> None:
    """Remind, or do it once the time has come. Twice is once: the row's lock is held, and what is done is seen."""
    try:
        asked, account = await _locked(session, LostFactor.id == request_id)
    except NotFound:
        return
    if asked.due_at <= now:
        await _do(session, asked, account)
    elif asked.told_at <= now - REMINDED_EVERY:
        asked.told_at = now
        await _remind(session, asked, account)


async def _do(session: AsyncSession, asked: LostFactor, account: Account) -> None:
    """Remove what was lost; a code by mail takes its place, so that the password alone is not enough."""
    await totp.remove(session, account_id=account.id)
    await passkeys.remove_all(session, account_id=account.id)
    await recovery.remove(session, account_id=account.id)
    account.email_codes = True
    asked.ended_at, asked.outcome = func.now(), DONE
    await session.execute(delete(SignInAttempt).where(SignInAttempt.account_id == account.id))
    await end_all_sessions(session, account_id=account.id)
    await audit.note(session, Action.LOST_FACTOR_DONE, account_id=account.id, about=f"lost-factor:{asked.id}")
    what = (
        "Your authenticator app, passkeys and recovery codes were removed, as was asked for three days ago. You are "
        "signed out everywhere, and a code by mail is asked for when you sign in. Set up a new app or passkey soon."
    )
    await tell(session, account_id=account.id, what=what, caller=audit.NOBODY)
