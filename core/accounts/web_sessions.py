"""Where people are signed in: tokens, their ends, and the list of devices."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import WebSession
from core.direct import Hot, direct
from core.errors import ClofyError, Kind
from core.secrets import signatures

# security.md 39: how long a session lives, and how long it may rest. The more it opens, the shorter.
ABSOLUTE_END, IDLE_END = timedelta(days=30), timedelta(days=14)  # by the password alone
FACTOR_END, FACTOR_IDLE = timedelta(hours=24), timedelta(hours=1)  # with a second factor
ADMIN_END, ADMIN_IDLE = timedelta(hours=12), timedelta(minutes=30)
TOUCHED_EVERY = timedelta(minutes=1)  # so that reading a page does not write a row
AGENT_LENGTH = 300  # characters kept of what a browser calls itself


class SessionOver(ClofyError):
    """You were signed out meanwhile; please sign in again."""

    kind = Kind.UNAUTHENTICATED


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is asking, as of this request: role and state are read each time, so that a demotion works at once."""

    id: UUID
    email: str
    name: str
    role: str
    session_id: UUID
    csrf_tokens: tuple[str, ...]  # accepted; the one to give out is the first
    proven_at: datetime  # when they last proved who they are
    factor: str | None  # by which second factor (core/accounts/factors); None: by the password alone
    closing_at: datetime | None = None  # when the account is to be erased, if it is

    @property
    def csrf_token(self) -> str:
        return self.csrf_tokens[0]


def _by_role(admin: timedelta, factor: timedelta, otherwise: timedelta) -> str:
    """By the role and the factor that count now, whatever they were at sign-in."""
    return (
        f"case when account.role = 'admin' then interval '{admin.total_seconds()} seconds'"
        f" when session.factor is not null then interval '{factor.total_seconds()} seconds'"
        f" else interval '{otherwise.total_seconds()} seconds' end"
    )


_ENDS_AT = f"least(session.expires_at, session.created_at + {_by_role(ADMIN_END, FACTOR_END, ABSOLUTE_END)})"
_IS_LIVE = f"""
    {_ENDS_AT} > now() and session.seen_at > now() - {_by_role(ADMIN_IDLE, FACTOR_IDLE, IDLE_END)}
    and account.disabled_at is null
"""
# Of a statement, also of one that asks for more at the same time (web/live.py).
FROM_LIVE = f"""
    from web_sessions session join accounts account on account.id = session.account_id
    where session.token_hash = :token_hash and {_IS_LIVE}
"""
_FIND = Hot(f"""
    select session.id, session.seen_at, account.id, account.email, account.name, account.role,
           session.proven_at, session.factor, account.closing_at {FROM_LIVE}
""")  # both parts are ours
_TOUCH = Hot("""
    update web_sessions set seen_at = now()
    where token_hash = :token_hash and seen_at < now() - cast(:touched_every as interval)
""")


def token_hash(token: str) -> bytes:
    """What is kept of a token: it has 256 random bits, so that a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def csrf_token(hashed: bytes) -> str:
    """The CSRF token of a session, derived so that it needs no column and changes with the session's id."""
    return _csrf_tokens(hashed)[0]


def _csrf_tokens(hashed: bytes) -> tuple[str, ...]:
    """The one to give out, and those that were given out under an older key."""
    return tuple(one.hex() for one in signatures(b"csrf:session:" + hashed))


async def find_session(token: str, *, touch: bool = True) -> SignedIn | None:
    """Who holds this token, or None if it is unknown or at its end. One statement; every request asks this.

    touch: whether somebody does something by it; what a page asks by itself does not keep a session awake
    """
    hashed = token_hash(token)
    async with direct() as unit:
        row = await _FIND.one(unit, token_hash=hashed)
        if row is None:
            return None
        session_id, seen_at, account_id, email, name, role, *proof = row
        if touch and datetime.now(UTC) - seen_at > TOUCHED_EVERY:
            # An UPDATE of a row that a parallel sign-out deleted changes nothing: it cannot bring a session back.
            await _TOUCH.all(unit, token_hash=hashed, touched_every=TOUCHED_EVERY)
    return SignedIn(account_id, email, name, role, session_id, _csrf_tokens(hashed), *proof)


async def start_session(
    session: AsyncSession,
    *,
    account_id: UUID,
    user_agent: str,
    ip: str,
    replaces: str | None = None,
    factor: str | None = None,
) -> str:
    """Sign a browser in under a fresh id and return its token, which is kept nowhere else.

    replaces: the token that the browser came with; its session ends, whoever it belonged to
    factor: the second factor that was given; None: the password was enough
    """
    if replaces is not None:
        await end_session(session, token=replaces)
    token = secrets.token_urlsafe(32)
    session.add(
        WebSession(
            token_hash=token_hash(token),
            account_id=account_id,
            user_agent=user_agent[:AGENT_LENGTH],
            ip=ip,
            expires_at=func.now() + ABSOLUTE_END,
            factor=factor,
        )
    )
    await session.flush()
    return token


async def rotate_session(session: AsyncSession, *, token: str, factor: str | None = None) -> str:
    """Put a session under a fresh id and return its token.

    factor: a second factor that was proven just now; None: it stays as it was
    Raises SessionOver if it was ended meanwhile: then what the caller has done in this transaction is undone too.
    """
    fresh = secrets.token_urlsafe(32)
    mine = update(WebSession).where(WebSession.token_hash == token_hash(token))
    kept = func.coalesce(factor, WebSession.factor)
    rotated = mine.values(token_hash=token_hash(fresh), factor=kept).returning(WebSession.id)
    if await session.scalar(rotated) is None:
        raise SessionOver
    return fresh


async def forget_factor(session: AsyncSession, *, token: str) -> None:
    """The account has no second factor any more, so its session goes on by the password alone."""
    await session.execute(update(WebSession).where(WebSession.token_hash == token_hash(token)).values(factor=None))


async def end_other_sessions(session: AsyncSession, *, account_id: UUID, token: str) -> None:
    """All but this one."""
    others = (WebSession.account_id == account_id, WebSession.token_hash != token_hash(token))
    await session.execute(delete(WebSession).where(*others))


async def end_session(session: AsyncSession, *, token: str) -> None:
    await session.execute(delete(WebSession).where(WebSession.token_hash == token_hash(token)))


async def end_all_sessions(session: AsyncSession, *, account_id: UUID) -> None:
    await session.execute(delete(WebSession).where(WebSession.account_id == account_id))


@dataclass(frozen=True, slots=True)
class Device:
    """A place where an account is signed in. expires_at: its end at the latest."""

    id: UUID
    user_agent: str
    ip: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    factor: str | None


_LIST = Hot(f"""
    select session.id, session.user_agent, session.ip, session.created_at, session.seen_at, {_ENDS_AT}, session.factor
    from web_sessions session join accounts account on account.id = session.account_id
    where session.account_id = :account_id and {_IS_LIVE} order by session.seen_at desc
""")  # noqa: S608  # all parts are ours


async def list_sessions(session: AsyncSession, *, account_id: UUID) -> Sequence[Device]:
    """The places where the account is signed in, the latest used first."""
    return [Device(*row) for row in await _LIST.all(session, account_id=account_id)]


async def revoke_session(session: AsyncSession, *, account_id: UUID, session_id: UUID) -> bool:
    """End one of the account's own sessions; False if it has no such session."""
    mine = delete(WebSession).where(WebSession.account_id == account_id, WebSession.id == session_id)
    return (await session.scalar(mine.returning(WebSession.id))) is not None
