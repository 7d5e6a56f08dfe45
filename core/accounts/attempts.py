"""Sign-ins whose password was right and whose second step is to come. Who has one is nobody yet, everywhere."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors.models import SignInAttempt
from core.accounts.models import Account
from core.accounts.web_sessions import token_hash
from core.errors import ClofyError, Kind

LIFE = timedelta(minutes=5)  # security.md 33


class AttemptOver(ClofyError):
    """This sign-in took too long, or was ended; please begin again with your password."""

    kind = Kind.UNAUTHENTICATED


def _mark(account: Account) -> bytes:
    return hashlib.sha256(account.password_hash.encode()).digest()


async def begin(session: AsyncSession, *, account: Account) -> str:
    """The token of a new attempt, which is kept nowhere else."""
    token = secrets.token_urlsafe(32)
    session.add(
        SignInAttempt(
            token_hash=token_hash(token),
            account_id=account.id,
            password_mark=_mark(account),
            expires_at=func.now() + LIFE,
        )
    )
    await session.flush()
    return token


async def account_of(session: AsyncSession, token: str | None, *, lock: bool = False) -> Account:
    """Whose attempt this is. Raises AttemptOver, also when the account was disabled or its password changed meanwhile.

    lock: parallel steps of the account, of other attempts too, wait for each other
    """
    if not token:
        raise AttemptOver
    live = (SignInAttempt.token_hash == token_hash(token), SignInAttempt.expires_at > func.clock_timestamp())
    query = select(Account, SignInAttempt.password_mark).join(SignInAttempt, SignInAttempt.account_id == Account.id)
    query = query.where(*live, Account.disabled_at.is_(None), Account.email_verified_at.is_not(None))
    found = (await session.execute(query.with_for_update(of=Account) if lock else query)).one_or_none()
    if found is None or found[1] != _mark(found[0]):
        raise AttemptOver
    account: Account = found[0]
    return account


async def end(session: AsyncSession, token: str) -> bool:
    """Returns whether there was such an attempt: of two that complete it, one is told so."""
    gone = delete(SignInAttempt).where(SignInAttempt.token_hash == token_hash(token))
    return await session.scalar(gone.returning(SignInAttempt.account_id)) is not None
