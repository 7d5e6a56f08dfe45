"""Proving to be somebody, by address and password."""

from sqlalchemy import select

from core import limits
from core.accounts import passwords
from core.accounts.addresses import parse_address
from core.accounts.models import Account
from core.accounts.registration import send_code_for
from core.accounts.web_sessions import start_session
from core.database import transaction
from core.errors import ClofyError, Kind
from core.telemetry import log

logger = log(__name__)


class WrongCredentials(ClofyError):
    """This address and this password do not belong together."""

    kind = Kind.UNAUTHENTICATED


class EmailNotVerified(ClofyError):
    """Your address is not confirmed yet. We have mailed you a code for it."""

    kind = Kind.FORBIDDEN


async def sign_in(
    *, email: str, password: str, user_agent: str, ip: str, browser: str, replaces: str | None = None
) -> str:
    """The token of a new session. Raises WrongCredentials, EmailNotVerified, TooManyTries, Busy.

    replaces: the session token that the browser came with, which ends
    The same work is done for a known and an unknown address. Opens its own transactions: the try is counted in one
    of its own, and the password is verified with no connection held.
    """
    address = parse_address(email)
    tried = await limits.admit(limits.SIGN_IN, account=address.key, ip=ip)
    async with transaction() as session:
        account = await session.scalar(select(Account).where(Account.email_key == address.key))
    fits = await passwords.verify_password(account.password_hash if account else None, password)
    if account is None or not fits or account.disabled_at is not None:
        logger.info("sign_in_failed", account_id=str(account.id) if account else None)
        raise WrongCredentials
    stronger = await passwords.hash_password(password) if passwords.needs_rehash(account.password_hash) else None
    token = None
    async with transaction() as session:
        # What was read before the hash may have changed since: a reset, a disabling, another registration.
        current = await session.scalar(select(Account).where(Account.id == account.id).with_for_update())
        if current is None or current.disabled_at is not None or current.password_hash != account.password_hash:
            raise WrongCredentials
        if current.email_verified_at is None:
            await send_code_for(session, account=current, browser=browser)
        else:
            current.password_hash = stronger or current.password_hash
            await limits.succeeded(session, tried, clear_account=True)
            token = await start_session(session, account_id=current.id, user_agent=user_agent, ip=ip, replaces=replaces)
    if token is None:
        raise EmailNotVerified
    logger.info("signed_in", account_id=str(account.id))
    return token
