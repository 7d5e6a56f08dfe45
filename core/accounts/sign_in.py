"""Proving to be somebody: the password, then the second step where the account has one; or a passkey alone."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts import attempts, browsers, codes, passwords
from core.accounts.addresses import parse_address
from core.accounts.factors import email_codes, lost, methods, passkeys, recovery, totp
from core.accounts.factors.changes import tell
from core.accounts.factors.email_codes import Purpose
from core.accounts.factors.models import Method
from core.accounts.factors.webauthn_api import WrongPasskey
from core.accounts.models import Account, WebSession
from core.accounts.registration import send_code_for
from core.accounts.web_sessions import start_session, token_hash
from core.audit import Action, Caller, Outcome
from core.database import transaction
from core.errors import ClofyError, Kind
from core.mail.deliveries import send
from core.telemetry import log

# Who gives a code here has given the password before: a count of their own, which no stranger can use up.
HAS_PASSWORD = "has-password"  # noqa: S105  # the name of a count

logger = log(__name__)


class WrongCredentials(ClofyError):
    """This address and this password do not belong together."""

    kind = Kind.UNAUTHENTICATED


class EmailNotVerified(ClofyError):
    """Your address is not confirmed yet. We have mailed you a code for it."""

    kind = Kind.FORBIDDEN


class WrongFactorCode(ClofyError):
    """This code is not right, or was used already."""

    kind = Kind.INVALID


@dataclass(frozen=True)
class Step:
    """Where a sign-in stands. With methods, `token` is of an attempt that waits for one of them; else of a session."""

    token: str
    methods: tuple[Method, ...] = ()


@dataclass(frozen=True)
class Visit:
    """What comes with each step.

    browser: the cookie that tells this browser from another one
    known: the cookie of a browser that somebody was signed in in (core/accounts/browsers.py)
    replaces: the session token that the browser came with, which ends once the sign-in is complete
    """

    caller: Caller
    browser: str
    known: str | None = None
    replaces: str | None = None


async def sign_in(*, email: str, password: str, visit: Visit) -> Step:
    """The first step. Raises WrongCredentials, EmailNotVerified, TooManyTries, Busy.

    The same work is done for a known and an unknown address. Opens its own transactions: the try is counted in one
    of its own, and the password is verified with no connection held.
    """
    address = parse_address(email)
    tried = await limits.admit(
        limits.SIGN_IN, account=address.key, ip=visit.caller.ip, browser=browsers.known(visit.known, email=email)
    )
    async with transaction() as session:
        account = await session.scalar(select(Account).where(Account.email_key == address.key))
    fits = await passwords.verify_password(account.password_hash if account else None, password)
    if account is None or not fits or account.disabled_at is not None:
        async with transaction() as session:
            whose = account.id if account else None
            await audit.note(session, Action.SIGNED_IN, account_id=whose, caller=visit.caller, outcome=Outcome.REFUSED)
        raise WrongCredentials
    stronger = await passwords.hash_password(password) if passwords.needs_rehash(account.password_hash) else None
    step = None
    async with transaction() as session:
        # What was read before the hash may have changed since: a reset, a disabling, another registration.
        current = await session.scalar(select(Account).where(Account.id == account.id).with_for_update())
        if current is None or current.disabled_at is not None or current.password_hash != account.password_hash:
            raise WrongCredentials
        if current.email_verified_at is None:
            await send_code_for(session, account=current, browser=visit.browser)
        else:
            current.password_hash = stronger or current.password_hash
            await limits.succeeded(session, tried, clear_account=True)
            step = await _after_password(session, current, visit=visit)
    if step is None:
        raise EmailNotVerified
    return step


async def _after_password(session: AsyncSession, account: Account, *, visit: Visit) -> Step:
    asked = await methods.asked_for(session, account=account)
    if not asked:
        return Step(await _complete(session, account, factor=None, visit=visit))
    token = await attempts.begin(session, account=account)
    if asked == (Method.EMAIL_CODE,):
        try:
            await email_codes.issue(session, account=account, attempt_hash=token_hash(token), purpose=Purpose.SIGN_IN)
        except email_codes.TooManyCodes:
            # The newest of those that were sent is of another attempt; the page offers to ask again later.
            logger.info("code_withheld", account_id=str(account.id))
    return Step(token, asked)


async def _complete(
    session: AsyncSession,
    account: Account,
    *,
    factor: Method | None,
    visit: Visit,
) -> str:
    """Sign in, under a fresh id. Who was signed in to the same account has proven again who they are."""
    again = visit.replaces is not None and (
        await session.scalar(select(WebSession.account_id).where(WebSession.token_hash == token_hash(visit.replaces)))
        == account.id
    )
    # Who is in needs no new password, so that one that a stranger had asked for is of no use any more (security.md 18).
    await codes.forget(session, account_id=account.id, purpose=codes.RESET_PASSWORD)
    token = await start_session(
        session,
        account_id=account.id,
        user_agent=visit.caller.user_agent,
        ip=visit.caller.ip,
        replaces=visit.replaces,
        factor=factor,
    )
    if factor in (Method.PASSKEY, Method.TOTP):
        await lost.owner_is_there(session, account_id=account.id, caller=visit.caller)
    facts = {"factor": factor} if factor else {}
    if not again and not browsers.known(visit.known, email=account.email):
        await _tell_of_new_browser(session, account, visit.caller)
    action = Action.STEPPED_UP if again else Action.SIGNED_IN
    await audit.note(session, action, account_id=account.id, caller=visit.caller, facts=facts)
    return token


async def _tell_of_new_browser(session: AsyncSession, account: Account, caller: Caller) -> None:
    """At most once a day for each kind of browser; the first sign-in of all is no news."""
    if not await audit.has_done(session, Action.SIGNED_IN, account_id=account.id):
        return
    kind = hashlib.sha256(caller.user_agent.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    await send(
        session,
        key=f"new_browser:{account.id}:{kind}:{datetime.now(UTC):%Y-%m-%d}",
        account_id=account.id,
        recipient=account.email,
        template="new_browser",
        facts={"name": account.name, "ip": caller.ip, "user_agent": caller.user_agent[:200]},
    )


async def methods_of(attempt: str | None) -> tuple[Method, ...]:
    """How an attempt may be completed. Raises AttemptOver."""
    async with transaction() as session:
        return await methods.asked_for(session, account=await attempts.account_of(session, attempt))


async def send_code(attempt: str | None, *, purpose: Purpose) -> None:
    """Mail a code for this attempt. Raises AttemptOver, TooManyCodes; WrongFactorCode where mail is no way in."""
    async with transaction() as session:
        account = await attempts.account_of(session, attempt, lock=True)
        by_mail = Method.EMAIL_CODE in await methods.asked_for(session, account=account)
        if by_mail is not (purpose is Purpose.SIGN_IN):
            raise WrongFactorCode
        assert attempt is not None
        await email_codes.issue(session, account=account, attempt_hash=token_hash(attempt), purpose=purpose)


async def second_factor(
    *,
    attempt: str | None,
    method: Method,
    code: str,
    visit: Visit,
) -> str:
    """The second step by a code; the token of a new session. Raises AttemptOver, WrongFactorCode, TooManyTries."""
    async with transaction() as session:
        account = await attempts.account_of(session, attempt)
    tried = await limits.admit(limits.CODE_GUESSES, account=account.email_key, ip=visit.caller.ip, browser=HAS_PASSWORD)
    token = None
    assert attempt is not None
    async with transaction() as session:
        account = await attempts.account_of(session, attempt, lock=True)
        if await _fits(session, account, attempt=attempt, method=method, code=code):
            await limits.succeeded(session, tried)
            token = await _finish(session, account, attempt=attempt, factor=method, visit=visit)
            if method is Method.RECOVERY_CODE:
                await _tell_of_recovery(session, account.id, visit.caller)
        else:
            await _refuse(session, account.id, method, visit.caller)
    if token is None:
        raise WrongFactorCode
    return token


async def _fits(session: AsyncSession, account: Account, *, attempt: str, method: Method, code: str) -> bool:
    if method not in await methods.asked_for(session, account=account):
        return False
    if method is Method.TOTP:
        return await totp.use(session, account_id=account.id, code=code)
    if method is Method.RECOVERY_CODE:
        return await recovery.use(session, account_id=account.id, code=code)
    if method is Method.EMAIL_CODE:
        return await email_codes.use(session, attempt_hash=token_hash(attempt), purpose=Purpose.SIGN_IN, code=code)
    return False  # a passkey is no code


async def _finish(
    session: AsyncSession,
    account: Account,
    *,
    attempt: str,
    factor: Method,
    visit: Visit,
) -> str:
    if not await attempts.end(session, attempt):
        raise attempts.AttemptOver
    return await _complete(session, account, factor=factor, visit=visit)


async def _refuse(session: AsyncSession, account_id: UUID, method: Method, caller: Caller) -> None:
    await audit.note(
        session,
        Action.SECOND_FACTOR,
        account_id=account_id,
        caller=caller,
        outcome=Outcome.REFUSED,
        facts={"method": method},
    )


async def _tell_of_recovery(session: AsyncSession, account_id: UUID, caller: Caller) -> None:
    left = await recovery.left(session, account_id=account_id)
    await audit.note(session, Action.RECOVERY_CODE_USED, account_id=account_id, caller=caller, facts={"left": left})
    what = f"A recovery code was used to sign in. {left} of your codes are left."
    await tell(session, account_id=account_id, what=what, caller=caller)


async def ask_for_passkey(*, attempt: str | None, browser: str, caller: Caller) -> dict[str, Any]:
    """What the browser is to sign: for the second step of this attempt, or to sign in without one.

    Raises AttemptOver, TooManyTries.
    """
    await limits.admit(limits.CHALLENGES, account=None, ip=caller.ip)
    async with transaction() as session:
        if attempt is None:
            return await passkeys.ask_to_sign(session, account_id=None, bound_to=token_hash(browser))
        account = await attempts.account_of(session, attempt)
        return await passkeys.ask_to_sign(session, account_id=account.id, bound_to=token_hash(attempt))


async def by_passkey(
    *,
    credential: dict[str, Any],
    attempt: str | None,
    visit: Visit,
) -> str:
    """Complete an attempt by a passkey, or sign in by it alone; the token of a new session.

    Alone it is two factors at once: the device is held, and has verified its user.
    Raises AttemptOver, WrongPasskey, TooManyTries. Opens its own transactions: a challenge is used up whatever comes.
    """
    tried = await limits.admit(limits.SIGN_IN, account=None, ip=visit.caller.ip)
    purpose = passkeys.Purpose.SIGN_IN if attempt is None else passkeys.Purpose.SECOND_FACTOR
    async with transaction() as session:
        asked = await passkeys.take_back(
            session, credential, purpose=purpose, bound_to=token_hash(visit.browser if attempt is None else attempt)
        )
    if asked is None:
        raise WrongPasskey
    try:
        async with transaction() as session:
            token = await _signed(session, credential, asked, attempt=attempt, visit=visit)
            await limits.succeeded(session, tried)
            return token
    except WrongPasskey:
        async with transaction() as session:
            if asked.account_id is not None:
                await _refuse(session, asked.account_id, Method.PASSKEY, visit.caller)
        raise


async def _signed(
    session: AsyncSession,
    credential: dict[str, Any],
    asked: passkeys.Asked,
    *,
    attempt: str | None,
    visit: Visit,
) -> str:
    passkey = await passkeys.use(session, credential, asked=asked)
    if attempt is not None:
        account = await attempts.account_of(session, attempt, lock=True)
        if account.id != passkey.account_id:
            raise WrongPasskey
        return await _finish(session, account, attempt=attempt, factor=Method.PASSKEY, visit=visit)
    usable = (Account.id == passkey.account_id, Account.disabled_at.is_(None), Account.email_verified_at.is_not(None))
    owner = await session.scalar(select(Account).where(*usable).with_for_update())
    if owner is None:
        raise WrongPasskey
    return await _complete(session, owner, factor=Method.PASSKEY, visit=visit)
