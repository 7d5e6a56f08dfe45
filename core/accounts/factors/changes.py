"""Adding and removing what proves an account: each change is told by mail, noted, and ends the other sessions.

Who calls has proven within half an hour who they are (web/session.py, `fresh`). Each returns the session's new token.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts.factors import methods, passkeys, recovery, totp
from core.accounts.factors.models import Method, Passkey
from core.accounts.factors.webauthn_api import WrongPasskey
from core.accounts.models import Account
from core.accounts.web_sessions import end_other_sessions, forget_factor, rotate_session, token_hash
from core.audit import Action, Caller, Outcome
from core.database import transaction
from core.errors import ClofyError, Kind
from core.mail.deliveries import send


class WrongFirstCode(ClofyError):
    """This is not the code that the app shows now. Is the clock of your phone right?"""

    kind = Kind.INVALID


class NothingToRecover(ClofyError):
    """Recovery codes stand in for an authenticator app or a passkey; add one of these first."""

    kind = Kind.CONFLICT


class BetterFactorThere(ClofyError):
    """This account has an authenticator app or a passkey, which is safer than codes by mail."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Changed:
    """token: of the session, under a fresh id. recovery_codes: a new set, shown this once; empty: there was one."""

    token: str
    recovery_codes: list[str] = field(default_factory=list)
    passkey: Passkey | None = None


async def tell(session: AsyncSession, *, account_id: UUID, what: str, caller: Caller) -> None:
    """Mail the owner what was changed, from where."""
    account = (await session.scalars(select(Account).where(Account.id == account_id))).one()
    await send(
        session,
        key=f"security_change:{uuid4()}",
        account_id=account_id,
        recipient=account.email,
        template="security_change",
        facts={"name": account.name, "what": what, "ip": caller.ip, "user_agent": caller.user_agent[:200]},
    )


async def begin_totp(*, account_id: UUID) -> totp.Enrolment:
    """Raises TotpThere."""
    async with transaction() as session:
        account = (await session.scalars(select(Account).where(Account.id == account_id))).one()
        return await totp.begin(session, account_id=account_id, email=account.email)


async def confirm_totp(*, account_id: UUID, code: str, token: str, caller: Caller) -> Changed:
    """Raises WrongFirstCode, NoTotpBegun, TooManyTries."""
    async with transaction() as session:
        key = (await session.scalars(select(Account.email_key).where(Account.id == account_id))).one()
    tried = await limits.admit(limits.CODE_GUESSES, account=key, ip=caller.ip, browser=f"signed-in:{account_id}")
    done = None
    async with transaction() as session:
        if await totp.confirm(session, account_id=account_id, code=code):
            await limits.succeeded(session, tried)
            done = await _added(
                session, account_id, Method.TOTP, "An authenticator app was added.", token=token, caller=caller
            )
        else:
            await audit.note(
                session,
                Action.FACTOR_ADDED,
                account_id=account_id,
                caller=caller,
                about="totp",
                outcome=Outcome.REFUSED,
            )
    if done is None:
        raise WrongFirstCode
    return done


async def _added(
    session: AsyncSession, account_id: UUID, method: Method, what: str, *, token: str, caller: Caller, about: str = ""
) -> Changed:
    """The first one brings recovery codes along, so that nobody is locked out by a lost phone."""
    codes: list[str] = []
    if await recovery.left(session, account_id=account_id) == 0:
        codes = await recovery.make(session, account_id=account_id)
        await audit.note(session, Action.RECOVERY_CODES_MADE, account_id=account_id, caller=caller)
        what += " Ten recovery codes were made for it."
    fresh = await _changed(
        session, account_id, Action.FACTOR_ADDED, what, about=about or method, token=token, caller=caller, factor=method
    )
    return Changed(token=fresh, recovery_codes=codes)


async def _changed(
    session: AsyncSession,
    account_id: UUID,
    action: Action,
    what: str,
    *,
    about: str,
    token: str,
    caller: Caller,
    factor: Method | None = None,
) -> str:
    await audit.note(session, action, account_id=account_id, caller=caller, about=about)
    await tell(session, account_id=account_id, what=what, caller=caller)
    fresh = await rotate_session(session, token=token, factor=factor)
    await end_other_sessions(session, account_id=account_id, token=fresh)
    return fresh


async def remove_totp(*, account_id: UUID, token: str, caller: Caller) -> Changed:
    """Once or twice is the same."""
    async with transaction() as session:
        if not await totp.remove(session, account_id=account_id):
            return Changed(token=token)
        what = "Your authenticator app was removed."
        return Changed(token=await _removed(session, account_id, what, about=Method.TOTP, token=token, caller=caller))


async def _removed(
    session: AsyncSession, account_id: UUID, what: str, *, about: str, token: str, caller: Caller
) -> str:
    """With the last one the recovery codes go: they would stand in for nothing."""
    factors = await methods.of_account(session, account_id=account_id)
    if not factors.strong:
        await recovery.remove(session, account_id=account_id)
        await forget_factor(session, token=token)
        guard = "its password and a code by mail" if factors.email_codes else "its password alone"
        what += f" Your account is now guarded by {guard}, and the recovery codes are void."
    return await _changed(session, account_id, Action.FACTOR_REMOVED, what, about=about, token=token, caller=caller)


async def make_recovery_codes(*, account_id: UUID, token: str, caller: Caller) -> Changed:
    """A new set; the one before is void. Raises NothingToRecover."""
    async with transaction() as session:
        if not (await methods.of_account(session, account_id=account_id)).strong:
            raise NothingToRecover
        codes = await recovery.make(session, account_id=account_id)
        what = "New recovery codes were made. The ones before no longer work."
        fresh = await _changed(
            session, account_id, Action.RECOVERY_CODES_MADE, what, about="", token=token, caller=caller
        )
        return Changed(token=fresh, recovery_codes=codes)


async def set_email_codes(*, account_id: UUID, wanted: bool, token: str, caller: Caller) -> Changed:
    """Have a code by mail asked for at each sign-in, or not. Raises BetterFactorThere."""
    async with transaction() as session:
        account = (await session.scalars(select(Account).where(Account.id == account_id).with_for_update())).one()
        if account.email_codes is wanted:
            return Changed(token=token)
        if wanted and (await methods.of_account(session, account_id=account_id)).strong:
            raise BetterFactorThere
        account.email_codes = wanted
        action = Action.FACTOR_ADDED if wanted else Action.FACTOR_REMOVED
        what = f"Codes by mail for signing in were turned {'on' if wanted else 'off'}."
        return Changed(
            token=await _changed(session, account_id, action, what, about=Method.EMAIL_CODE, token=token, caller=caller)
        )


async def ask_for_passkey(*, account_id: UUID, token: str) -> dict[str, Any]:
    """What the browser is to make a key for. Raises TooManyPasskeys."""
    async with transaction() as session:
        account = (await session.scalars(select(Account).where(Account.id == account_id))).one()
        return await passkeys.ask_to_make(session, account=account, bound_to=token_hash(token))


async def add_passkey(
    *, account_id: UUID, credential: dict[str, Any], name: str, token: str, caller: Caller
) -> Changed:
    """Raises WrongPasskey, PasskeyThere."""
    async with transaction() as session:
        asked = await passkeys.take_back(session, credential, purpose=passkeys.Purpose.MAKE, bound_to=token_hash(token))
    if asked is None:
        raise WrongPasskey
    async with transaction() as session:
        passkey = await passkeys.add(session, credential, asked=asked, account_id=account_id, name=name)
        what = f"The passkey “{name}” was added."
        done = await _added(
            session, account_id, Method.PASSKEY, what, about=f"passkey:{passkey.id}", token=token, caller=caller
        )
    return Changed(token=done.token, recovery_codes=done.recovery_codes, passkey=passkey)


async def remove_passkey(*, account_id: UUID, passkey_id: UUID, token: str, caller: Caller) -> Changed:
    """Raises NotFound."""
    async with transaction() as session:
        name = await passkeys.remove(session, account_id=account_id, passkey_id=passkey_id)
        what, about = f"The passkey “{name}” was removed.", f"passkey:{passkey_id}"
        return Changed(token=await _removed(session, account_id, what, about=about, token=token, caller=caller))
