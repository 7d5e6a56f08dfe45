"""Codes that prove an address: six digits by mail, kept as a keyed hash, with few tries and a short life.

The mail's link fills in the same code in its long form, of 256 bits, which nobody guesses: it has no bound on tries, so
that a stranger who uses up the tries of the short one keeps nobody out.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountCode
from core.secrets import is_signed, sign

LIFE = timedelta(minutes=15)
TRIES = 5  # for each code (security.md 31)
SENDS, SENDS_IN = 5, timedelta(minutes=10)  # for each account
SENDS_OF_ONE_BROWSER = 3  # of those, so that a stranger who registers an address does not use all of them up
VERIFY_EMAIL, RESET_PASSWORD = "verify_email", "reset_password"
CHANGE_EMAIL = "change_email"
REGISTERED_AGAIN = "registered_again"  # of an address that has its account: nothing takes such a code
PATTERN = r"^([0-9]{6}|[A-Za-z0-9_-]{43})$"  # short or long


@dataclass(frozen=True)
class Registration:
    """What a registration asked for; it takes effect only by the code that was mailed for it.

    policies: the texts that it was agreed to with
    """

    password_hash: str
    name: str
    company: str | None
    policies: str | None = None


@dataclass(frozen=True)
class IssuedCode:
    """code: for people. link: its long form, for the link in the mail."""

    id: UUID
    code: str
    link: str


def browser_hash(browser: str) -> bytes:
    """What is kept of the cookie that tells two browsers apart."""
    return hashlib.sha256(browser.encode("utf-8", "surrogateescape")).digest()


def _to_sign(code_id: UUID, code: str, about: str = "") -> bytes:
    """What is kept of a code is keyed: six digits alone could be tried through from a stolen table."""
    return b"code:" + code_id.bytes + code.encode() + about.encode()


def is_long(code: str) -> bool:
    return len(code) == 43


def _link(code_id: UUID, about: str) -> str:
    return base64.urlsafe_b64encode(sign(b"link:" + code_id.bytes + about.encode())).rstrip(b"=").decode()


def _is_link(code_id: UUID, code: str, about: str) -> bool:
    try:
        return is_signed(b"link:" + code_id.bytes + about.encode(), base64.urlsafe_b64decode(code + "="))
    except ValueError:
        return False


async def issue_code(
    session: AsyncSession,
    *,
    account_id: UUID,
    browser: str,
    purpose: str = VERIFY_EMAIL,
    registration: Registration | None = None,
    password_hash: str | None = None,
    about: str = "",
) -> IssuedCode | None:
    """Make a code and void the same browser's earlier ones; None when enough were sent of late.

    registration: what the code of a registration proves
    password_hash: of now; the code of a reset is void once another one is set
    about: what else the code is bound to, as the address that it proves; kept nowhere, and to be given with the code

    The caller holds the account's row lock, so that parallel askers are counted one after another.
    """
    mine = browser_hash(browser)
    of_account = (AccountCode.account_id == account_id, AccountCode.purpose == purpose)
    recent = (
        await session.scalars(
            select(AccountCode.browser_hash).where(*of_account, AccountCode.created_at > func.now() - SENDS_IN)
        )
    ).all()
    if len(recent) >= SENDS or sum(one == mine for one in recent) >= SENDS_OF_ONE_BROWSER:
        return None
    before = (*of_account, AccountCode.browser_hash == mine, AccountCode.used_at.is_(None))
    code_id = uuid4()
    issued = IssuedCode(id=code_id, code=f"{secrets.randbelow(1_000_000):06}", link=_link(code_id, about))
    # In one statement: an address without an account costs as many (waiting.py), so that the time tells nothing.
    await session.execute(
        insert(AccountCode)
        .add_cte(update(AccountCode).where(*before).values(used_at=func.now()).cte("voided"))
        .values(
            id=issued.id,
            account_id=account_id,
            purpose=purpose,
            code_hash=sign(_to_sign(issued.id, issued.code, about)),
            expires_at=func.now() + LIFE,
            browser_hash=mine,
            password_hash=registration.password_hash if registration else password_hash,
            name=registration.name if registration else None,
            company=registration.company if registration else None,
            policies=registration.policies if registration else None,
            created_at=func.clock_timestamp(),
        )
    )
    return issued


async def use_code(session: AsyncSession, *, account_id: UUID, browser: str, code: str) -> Registration | None:
    """Try the code of a registration: what it proves, once; None if it is wrong, used, or at its end.

    The caller commits either way. Codes for several browsers mean that somebody else registers the same address: then
    a code counts only in the browser that asked for it. A single one may be used on another device.
    """
    rows = await _live(session, account_id=account_id, purpose=VERIFY_EMAIL, code=code)
    asked_here = [row for row in rows if hmac.compare_digest(row.browser_hash, browser_hash(browser))]
    candidates = asked_here or (rows if len({row.browser_hash for row in rows}) == 1 else [])
    row = _fitting(candidates, code)
    if row is None:
        return None
    assert row.password_hash is not None
    assert row.name is not None
    proven = Registration(row.password_hash, row.name, row.company, row.policies)
    await forget(session, account_id=account_id)
    return proven


async def use_bound_code(
    session: AsyncSession, *, account_id: UUID, purpose: str, password_hash: str, code: str, about: str = ""
) -> bool:
    """Try the code of a reset or a new address, once. It counts in any browser: whoever has it reads that mail.

    password_hash: the account's own, now; a code from before another one was set is void
    about: as it was issued
    """
    rows = await _live(session, account_id=account_id, purpose=purpose, code=code)
    row = _fitting([row for row in rows if row.password_hash == password_hash], code, about)
    if row is not None:
        await forget(session, account_id=account_id)
    return row is not None


async def _live(session: AsyncSession, *, account_id: UUID, purpose: str, code: str) -> list[AccountCode]:
    """Codes that may be used. Counts the try on each, in one statement whose row locks make parallel tries wait."""
    live = (
        AccountCode.account_id == account_id,
        AccountCode.purpose == purpose,
        AccountCode.used_at.is_(None),
        AccountCode.expires_at > func.now(),
    )
    if is_long(code):
        return list(await session.scalars(select(AccountCode).where(*live).with_for_update()))
    counted = update(AccountCode).where(*live, AccountCode.tries < TRIES).values(tries=AccountCode.tries + 1)
    return list(await session.scalars(counted.returning(AccountCode)))


def _fitting(rows: list[AccountCode], code: str, about: str = "") -> AccountCode | None:
    fits = [
        row
        for row in rows
        if (_is_link(row.id, code, about) if is_long(code) else is_signed(_to_sign(row.id, code, about), row.code_hash))
    ]
    return fits[0] if fits else None


async def forget(session: AsyncSession, *, account_id: UUID, purpose: str | None = None) -> None:
    """Void the account's codes, or those for one purpose."""
    of_account = delete(AccountCode).where(AccountCode.account_id == account_id)
    await session.execute(of_account.where(AccountCode.purpose == purpose) if purpose else of_account)


async def agreed_with(session: AsyncSession, *, account_id: UUID, password_hash: str) -> str | None:
    """The texts that the registration with this password agreed to."""
    mine = (AccountCode.account_id == account_id, AccountCode.password_hash == password_hash)
    said = select(AccountCode.policies).where(*mine, AccountCode.policies.is_not(None))
    return await session.scalar(said.order_by(AccountCode.created_at.desc()).limit(1))


async def latest_registration(
    session: AsyncSession, *, account_id: UUID, browser: str, purpose: str = VERIFY_EMAIL
) -> Registration | None:
    """What this browser last asked for, for a code that is sent again."""
    row = await session.scalar(
        select(AccountCode)
        .where(
            AccountCode.account_id == account_id,
            AccountCode.purpose == purpose,
            AccountCode.browser_hash == browser_hash(browser),
        )
        .order_by(AccountCode.created_at.desc(), AccountCode.id.desc())
        .limit(1)
    )
    if row is None or row.password_hash is None or row.name is None:
        return None
    return Registration(row.password_hash, row.name, row.company, row.policies)
