"""Six digits by mail, for one sign-in attempt. Weaker than the other factors: whoever reads the mailbox has them.

Not offered to an account with an authenticator app or a passkey (docs/threat-model.md, 1). For one that lost these, the
same code proves the mailbox when it asks for help (lost.py).
"""

import secrets
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors.models import EmailCode
from core.accounts.models import Account
from core.errors import ClofyError, Kind
from core.mail.deliveries import send
from core.secrets import is_signed, sign

LIFE = timedelta(minutes=10)  # at most; the attempt that it is bound to ends after five
TRIES = 5  # for each code (security.md 31)
SENDS, SENDS_IN = 3, timedelta(minutes=10)  # for each account


class Purpose(StrEnum):
    SIGN_IN = "sign_in"
    LOST_FACTOR = "lost_factor"


class TooManyCodes(ClofyError):
    """We have sent you several codes of late. Use the newest one, or wait ten minutes."""

    kind = Kind.TOO_MANY
    retry_after = SENDS_IN.total_seconds()


def _signed(code_id: UUID, code: str) -> bytes:
    """Keyed: six digits alone could be tried through from a stolen table."""
    return b"email-code:" + code_id.bytes + code.encode("utf-8", "surrogateescape")


async def issue(session: AsyncSession, *, account: Account, attempt_hash: bytes, purpose: Purpose) -> None:
    """Mail a code; the account's earlier ones are void. Raises TooManyCodes.

    The caller holds the account's row lock, so that parallel askers are counted one after another.
    """
    recent = (EmailCode.account_id == account.id, EmailCode.created_at > func.clock_timestamp() - SENDS_IN)
    if (await session.scalar(select(func.count()).select_from(EmailCode).where(*recent)) or 0) >= SENDS:
        raise TooManyCodes
    live = (EmailCode.account_id == account.id, EmailCode.used_at.is_(None))
    await session.execute(update(EmailCode).where(*live).values(used_at=func.now()))
    code_id, code = uuid4(), f"{secrets.randbelow(1_000_000):06}"
    session.add(
        EmailCode(
            id=code_id,
            account_id=account.id,
            attempt_hash=attempt_hash,
            purpose=purpose,
            code_hash=sign(_signed(code_id, code)),
            expires_at=func.now() + LIFE,
        )
    )
    await session.flush()
    await send(
        session,
        key=f"email_code:{code_id}",
        account_id=account.id,
        recipient=account.email,
        template=f"{purpose}_code",
        facts={"code": code, "name": account.name},
    )


async def use(session: AsyncSession, *, attempt_hash: bytes, purpose: Purpose, code: str) -> bool:
    """Try the attempt's code. The try is counted whatever comes of it, so the caller commits either way."""
    live = (
        EmailCode.attempt_hash == attempt_hash,
        EmailCode.purpose == purpose,
        EmailCode.used_at.is_(None),
        EmailCode.expires_at > func.now(),
        EmailCode.tries < TRIES,
    )
    tried = update(EmailCode).where(*live).values(tries=EmailCode.tries + 1).returning(EmailCode)
    row = await session.scalar(tried)
    if row is None or not is_signed(_signed(row.id, code), row.code_hash):
        return False
    row.used_at = func.now()
    await session.flush()
    return True
