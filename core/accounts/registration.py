"""Becoming known: register, prove the address, ask for the code again. No answer tells whether an address is known."""

from collections.abc import Awaitable, Callable
from datetime import date
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts import codes, waiting
from core.accounts.addresses import Address, parse_address
from core.accounts.codes import REGISTERED_AGAIN, VERIFY_EMAIL, Registration
from core.accounts.models import Account
from core.accounts.passwords import check_password, hash_password
from core.accounts.web_sessions import end_all_sessions
from core.audit import Action, Caller, Outcome
from core.database import transaction
from core.errors import ClofyError, InvalidInput, Kind
from core.mail.deliveries import send
from core.telemetry import log

MIN_AGE = 13  # years; of younger ones nothing is kept (privacy policy, children)
OLDEST = 1900

logger = log(__name__)


class TooYoung(ClofyError):
    """You cannot register with this birth date."""

    kind = Kind.FORBIDDEN


class WrongCode(ClofyError):
    """This code is not right, or no longer; ask for a new one."""

    kind = Kind.INVALID


def check_age(birth_date: date, *, today: date) -> None:
    """Raise TooYoung below 13 years, InvalidInput for no birth date of a living person."""
    if birth_date > today or birth_date.year < OLDEST:
        raise InvalidInput(field="birth_date", rule="must be a date of birth")
    before_birthday = (today.month, today.day) < (birth_date.month, birth_date.day)
    if today.year - birth_date.year - before_birthday < MIN_AGE:
        raise TooYoung


async def register(
    *,
    email: str,
    password: str,
    name: str,
    company: str | None,
    birth_date: date,
    policies: str | None = None,
    browser: str,
    today: date,
    caller: Caller,
) -> UUID:
    """Take a registration, and mail a code to a new address or a word to a known one; the ticket of that mail.

    For both the same is done: rows that live as long as a code, one mail, as often as codes are sent.

    birth_date: decides and is kept nowhere
    policies: the versions of our texts that are agreed to; given to `verify` with the code
    browser: the cookie that tells this browser from another one
    Opens its own transaction, after the hash: that is awaited with no connection held.
    Raises TooYoung, InvalidInput, TooManyTries, Busy. A second registration of an unproven address stands beside the
    first, and the mailed code decides which of them counts.
    """
    check_age(birth_date, today=today)
    address = parse_address(email)
    await limits.admit(limits.MAILS, account=None, ip=caller.ip)
    await check_password(password, about=(address.email, name, company))
    wanted = Registration(await hash_password(password), name, company, policies)
    async with transaction() as session:
        known = await _proven_account(session, address)
        account_id = None if known else await _unproven_account(session, address=address, wanted=wanted)
        if account_id is not None:
            await audit.note(session, Action.REGISTERED, account_id=account_id, caller=caller)
            return await _mail_code(session, account_id=account_id, address=address, browser=browser, wanted=wanted)
        known = known or await _proven_account(session, address)  # it was proven at this very moment
        assert known is not None
        await audit.note(session, Action.REGISTERED, account_id=known.id, caller=caller, outcome=Outcome.REFUSED)
        return await _mail_known(session, account=known, browser=browser, wanted=wanted)


async def _proven_account(session: AsyncSession, address: Address) -> Account | None:
    proven = (Account.email_key == address.key, Account.email_verified_at.is_not(None))
    return await session.scalar(select(Account).where(*proven).with_for_update())


async def _unproven_account(session: AsyncSession, *, address: Address, wanted: Registration) -> UUID | None:
    """The row of a new or an unproven address, locked; None for a proven one."""
    row = insert(Account).values(
        email=address.email,
        email_key=address.key,
        password_hash=wanted.password_hash,
        name=wanted.name,
        company=wanted.company,
    )
    # Nobody can sign in to an unproven account, so that the latest registration may write over an earlier one.
    anew = row.on_conflict_do_update(
        index_elements=[Account.email_key],
        set_={key: row.excluded[key] for key in ("email", "password_hash", "name", "company")},
        where=Account.email_verified_at.is_(None),
    )
    return await session.scalar(anew.returning(Account.id))


async def _mail_code(
    session: AsyncSession, *, account_id: UUID, address: Address, browser: str, wanted: Registration
) -> UUID:
    issued = await codes.issue_code(session, account_id=account_id, browser=browser, registration=wanted)
    if issued is None:
        logger.info("code_withheld", account_id=str(account_id))
        return waiting.ticket()
    await send(
        session,
        key=f"verification:{issued.id}",
        account_id=account_id,
        recipient=address.email,
        template="verification",
        facts={"code": issued.code, "link": issued.link, "email": address.email},
    )
    return issued.id


async def _mail_known(session: AsyncSession, *, account: Account, browser: str, wanted: Registration) -> UUID:
    """Tell the owner that somebody registers the address again. The caller holds the account's row lock.

    The code is in no mail and proves nothing; its row counts the mails, as for an address that has no account.
    """
    issued = await codes.issue_code(
        session, account_id=account.id, browser=browser, purpose=REGISTERED_AGAIN, registration=_nothing_of(wanted)
    )
    if issued is None:
        logger.info("code_withheld", account_id=str(account.id))
        return waiting.ticket()
    await send(
        session,
        key=f"already_registered:{issued.id}",
        account_id=account.id,
        recipient=account.email,
        template="already_registered",
        facts={"email": account.email},
    )
    return issued.id


def _nothing_of(wanted: Registration) -> Registration:
    """As long as what was asked for, and none of it: of who is no owner of the account nothing is kept."""
    return Registration(password_hash="-" * len(wanted.password_hash), name="-" * len(wanted.name), company=None)


Agreed = Callable[[AsyncSession, UUID, str | None], Awaitable[None]]


async def verify(*, email: str, code: str, browser: str, caller: Caller, agreed: Agreed | None = None) -> None:
    """Prove an address by its code. Raises WrongCode, the same for an unknown address, and TooManyTries.

    What was asked for by the registration that this code belongs to takes effect; sessions and codes from before end.
    agreed: is told the account and the texts that were agreed to, in the same transaction
    """
    address = parse_address(email)
    of_account = None if codes.is_long(code) else address.key
    tried = await limits.admit(limits.CODE_GUESSES, account=of_account, ip=caller.ip)
    async with transaction() as session:
        proven = await _try_code(session, address=address, code=code, browser=browser)
        account_id = proven[0] if proven else None
        if proven is not None:
            if agreed is not None:
                await agreed(session, *proven)
            await limits.succeeded(session, tried)
            await audit.note(session, Action.EMAIL_VERIFIED, account_id=account_id, caller=caller)
        else:
            refused = Outcome.REFUSED
            known = await session.scalar(select(Account.id).where(Account.email_key == address.key))
            await audit.note(session, Action.EMAIL_VERIFIED, account_id=known, caller=caller, outcome=refused)
    if account_id is None:
        raise WrongCode
    logger.info("email_verified", account_id=str(account_id))


async def _try_code(
    session: AsyncSession, *, address: Address, code: str, browser: str
) -> tuple[UUID, str | None] | None:
    """The account that is proven now, and the texts that its registration agreed to."""
    unproven = (Account.email_key == address.key, Account.email_verified_at.is_(None), Account.disabled_at.is_(None))
    account = await session.scalar(select(Account).where(*unproven).with_for_update())
    if account is None:
        return None
    proven = await codes.use_code(session, account_id=account.id, browser=browser, code=code)
    if proven is None:
        return None
    account.password_hash, account.name, account.company = proven.password_hash, proven.name, proven.company
    account.email_verified_at = func.now()
    await end_all_sessions(session, account_id=account.id)
    return account.id, proven.policies


async def resend_code(*, email: str, browser: str, caller: Caller) -> UUID:
    """Mail anew for what this browser registered; nothing, with the same answer, if it registered nothing."""
    address = parse_address(email)
    await limits.admit(limits.MAILS, account=None, ip=caller.ip)
    async with transaction() as session:
        account = await session.scalar(select(Account).where(Account.email_key == address.key).with_for_update())
        if account is None:
            return waiting.ticket()
        purpose = VERIFY_EMAIL if account.email_verified_at is None else REGISTERED_AGAIN
        wanted = await codes.latest_registration(session, account_id=account.id, browser=browser, purpose=purpose)
        if wanted is None:
            return waiting.ticket()
        if purpose == REGISTERED_AGAIN:
            return await _mail_known(session, account=account, browser=browser, wanted=wanted)
        return await _mail_code(session, account_id=account.id, address=address, browser=browser, wanted=wanted)


async def send_code_for(session: AsyncSession, *, account: Account, browser: str) -> None:
    """Mail a code to who has just given the right password of an unproven account. The caller holds its row lock."""
    agreed = await codes.agreed_with(session, account_id=account.id, password_hash=account.password_hash)
    wanted = Registration(account.password_hash, account.name, account.company, agreed)
    address = Address(email=account.email, key=account.email_key)
    await _mail_code(session, account_id=account.id, address=address, browser=browser, wanted=wanted)
