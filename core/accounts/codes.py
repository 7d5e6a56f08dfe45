"""Codes that prove an address: six digits by mail, kept as a keyed hash, with few tries and a short life."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import AccountCode
from core.settings import settings

LIFE = timedelta(minutes=15)
TRIES = 5  # for each code (security.md 31)
SENDS, SENDS_IN = 5, timedelta(minutes=10)  # for each account
SENDS_OF_ONE_BROWSER = 3  # of those, so that a stranger who registers an address does not use all of them up
VERIFY_EMAIL = "verify_email"


@dataclass(frozen=True)
class Registration:
    """What a registration asked for; it takes effect only by the code that was mailed for it."""

    password_hash: str
    name: str
    company: str | None


@dataclass(frozen=True)
class IssuedCode:
    id: UUID
    code: str


def browser_hash(browser: str) -> bytes:
    """What is kept of the cookie that tells two browsers apart."""
    return hashlib.sha256(browser.encode("utf-8", "surrogateescape")).digest()


def _code_hash(code_id: UUID, code: str) -> bytes:
    """Keyed: six digits alone could be tried through from a stolen table."""
    secret = settings().secret_key.get_secret_value().encode()
    return hmac.digest(secret, b"code:" + code_id.bytes + code.encode(), "sha256")


async def issue_code(
    session: AsyncSession, *, account_id: UUID, browser: str, registration: Registration
) -> IssuedCode | None:
    """Make a code and void the same browser's earlier ones; None when enough were sent of late.

    The caller holds the account's row lock, so that parallel askers are counted one after another.
    """
    mine = browser_hash(browser)
    of_account = (AccountCode.account_id == account_id, AccountCode.purpose == VERIFY_EMAIL)
    await session.execute(delete(AccountCode).where(*of_account, AccountCode.created_at < func.now() - 2 * LIFE))
    recent = (
        await session.scalars(
            select(AccountCode.browser_hash).where(*of_account, AccountCode.created_at > func.now() - SENDS_IN)
        )
    ).all()
    if len(recent) >= SENDS or sum(one == mine for one in recent) >= SENDS_OF_ONE_BROWSER:
        return None
    await session.execute(
        update(AccountCode)
        .where(*of_account, AccountCode.browser_hash == mine, AccountCode.used_at.is_(None))
        .values(used_at=func.now())
    )
    issued = IssuedCode(id=uuid4(), code=f"{secrets.randbelow(1_000_000):06}")
    session.add(
        AccountCode(
            id=issued.id,
            account_id=account_id,
            purpose=VERIFY_EMAIL,
            code_hash=_code_hash(issued.id, issued.code),
            expires_at=func.now() + LIFE,
            browser_hash=mine,
            password_hash=registration.password_hash,
            name=registration.name,
            company=registration.company,
            created_at=func.clock_timestamp(),
        )
    )
    await session.flush()
    return issued


async def use_code(session: AsyncSession, *, account_id: UUID, browser: str, code: str) -> Registration | None:
    """Try a code: the registration that it proves, once; None if it is wrong, used, or at its end.

    Counts the try on each live code of the account in one statement, whose row locks make parallel tries wait.
    The caller commits either way. Codes for several browsers mean that somebody else registers the same address:
    then a code counts only in the browser that asked for it. A single one may be used on another device.
    """
    live = (
        await session.execute(
            update(AccountCode)
            .where(
                AccountCode.account_id == account_id,
                AccountCode.purpose == VERIFY_EMAIL,
                AccountCode.used_at.is_(None),
                AccountCode.expires_at > func.now(),
                AccountCode.tries < TRIES,
            )
            .values(tries=AccountCode.tries + 1)
            .returning(AccountCode)
        )
    ).scalars()
    rows = list(live)
    asked_here = [row for row in rows if hmac.compare_digest(row.browser_hash, browser_hash(browser))]
    candidates = asked_here or (rows if len({row.browser_hash for row in rows}) == 1 else [])
    fitting = [row for row in candidates if hmac.compare_digest(row.code_hash, _code_hash(row.id, code))]
    if not fitting:
        return None
    row = fitting[0]
    assert row.password_hash is not None
    assert row.name is not None
    proven = Registration(password_hash=row.password_hash, name=row.name, company=row.company)
    await session.execute(delete(AccountCode).where(AccountCode.account_id == account_id))
    return proven


async def latest_registration(session: AsyncSession, *, account_id: UUID, browser: str) -> Registration | None:
    """What this browser last asked for, for a code that is sent again."""
    row = await session.scalar(
        select(AccountCode)
        .where(
            AccountCode.account_id == account_id,
            AccountCode.purpose == VERIFY_EMAIL,
            AccountCode.browser_hash == browser_hash(browser),
        )
        .order_by(AccountCode.created_at.desc(), AccountCode.id.desc())
        .limit(1)
    )
    if row is None or row.password_hash is None or row.name is None:
        return None
    return Registration(password_hash=row.password_hash, name=row.name, company=row.company)
