"""A new password for who has lost the old one, by a code to the account's address; and for who knows it.

No answer tells whether an address is known. Neither signs in, neither touches a second factor (security.md 20).
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts import codes, waiting
from core.accounts.addresses import parse_address
from core.accounts.codes import RESET_PASSWORD
from core.accounts.factors import lost
from core.accounts.factors.changes import tell
from core.accounts.models import Account
from core.accounts.passwords import check_password, hash_password, verify_password
from core.accounts.registration import WrongCode
from core.accounts.web_sessions import end_all_sessions, end_other_sessions, rotate_session
from core.audit import Action, Caller, Outcome
from core.database import transaction
from core.errors import InvalidInput
from core.mail.deliveries import send
from core.telemetry import log

logger = log(__name__)


async def ask(*, email: str, browser: str, caller: Caller) -> UUID:
    """Mail a code to the address, or the word that it has no account that is proven and not disabled; the ticket.

    Raises TooManyTries.
    """
    address = parse_address(email)
    await limits.admit(limits.MAILS, account=None, ip=caller.ip)
    proven = (Account.email_key == address.key, Account.email_verified_at.is_not(None), Account.disabled_at.is_(None))
    async with transaction() as session:
        account = await session.scalar(select(Account).where(*proven).with_for_update())
        known = account.id if account else None
        await audit.note(session, Action.RESET_ASKED, account_id=known, caller=caller)
        if account is None:
            return await waiting.tell_nothing_there(session, address=address, browser=browser)
        return await _mail_code(session, account=account, browser=browser)


async def _mail_code(session: AsyncSession, *, account: Account, browser: str) -> UUID:
    issued = await codes.issue_code(
        session,
        account_id=account.id,
        browser=browser,
        purpose=RESET_PASSWORD,
        password_hash=account.password_hash,
    )
    if issued is None:
        logger.info("code_withheld", account_id=str(account.id))
        return waiting.ticket()
    await send(
        session,
        key=f"password_reset:{issued.id}",
        account_id=account.id,
        recipient=account.email,
        template="password_reset",
        facts={"code": issued.code, "link": issued.link, "email": account.email, "name": account.name},
    )
    return issued.id


async def confirm(*, email: str, code: str, password: str, caller: Caller) -> None:
    """Set a new password by the code. All sessions end. Raises InvalidInput, WrongCode, TooManyTries, Busy.

    The same work is done for an unknown address. Only the short form of the code can be guessed, and is counted.
    """
    address = parse_address(email)
    of_account = None if codes.is_long(code) else address.key
    tried = await limits.admit(limits.CODE_GUESSES, account=of_account, ip=caller.ip)
    await check_password(password, about=(address.email,))
    fresh = await hash_password(password)
    done = False
    async with transaction() as session:
        usable = (Account.email_key == address.key, Account.disabled_at.is_(None))
        account = await session.scalar(
            select(Account).where(*usable, Account.email_verified_at.is_not(None)).with_for_update()
        )
        done = account is not None and await codes.use_bound_code(
            session,
            account_id=account.id,
            purpose=RESET_PASSWORD,
            password_hash=account.password_hash,
            code=code,
        )
        if account is not None and done:
            await limits.succeeded(session, tried)
            account.password_hash = fresh
            await end_all_sessions(session, account_id=account.id)
            await _tell(session, account.id, Action.PASSWORD_RESET, "Your password was reset.", caller)
        else:
            known = account.id if account else None
            await audit.note(session, Action.PASSWORD_RESET, account_id=known, caller=caller, outcome=Outcome.REFUSED)
    if not done:
        raise WrongCode


async def change(*, account_id: UUID, current: str, password: str, token: str, caller: Caller) -> str:
    """Set a new password, knowing the old one; all other sessions end. The token of this one, under a fresh id.

    token: of the session that asks
    Raises InvalidInput for either password, TooManyTries, SessionOver, Busy.
    """
    async with transaction() as session:
        account = (await session.scalars(select(Account).where(Account.id == account_id))).one()
    tried = await limits.admit(
        limits.SIGN_IN, account=account.email_key, ip=caller.ip, browser=f"signed-in:{account_id}"
    )
    if not await verify_password(account.password_hash, current):
        async with transaction() as session:
            await audit.note(
                session, Action.PASSWORD_CHANGED, account_id=account_id, caller=caller, outcome=Outcome.REFUSED
            )
        raise InvalidInput(field="current", rule="is not your password")
    await check_password(password, about=(account.email, account.name, account.company))
    fresh = await hash_password(password)
    async with transaction() as session:
        locked = (await session.scalars(select(Account).where(Account.id == account_id).with_for_update())).one()
        if locked.password_hash != account.password_hash:
            raise InvalidInput(field="current", rule="is not your password")
        locked.password_hash = fresh
        await limits.succeeded(session, tried, clear_account=True)
        await codes.forget(session, account_id=account_id, purpose=RESET_PASSWORD)
        rotated = await rotate_session(session, token=token)
        await end_other_sessions(session, account_id=account_id, token=rotated)
        await _tell(session, account_id, Action.PASSWORD_CHANGED, "Your password was changed.", caller)
    return rotated


async def _tell(session: AsyncSession, account_id: UUID, action: Action, what: str, caller: Caller) -> None:
    # Who asked for the removal of a lost factor did so by the password from before.
    await lost.owner_is_there(session, account_id=account_id, caller=caller)
    await audit.note(session, action, account_id=account_id, caller=caller)
    await tell(session, account_id=account_id, what=what, caller=caller)
