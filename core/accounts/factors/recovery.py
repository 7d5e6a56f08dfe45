"""Ten codes on paper, each of them used once."""

import base64
import hashlib
import secrets
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors.models import RecoveryCode

CODES = 10
CODE_BYTES = 15  # 120 bits: above the 112 from which a plain hash is enough (ASVS 5.0, 6.5.2)
GROUP = 4
LENGTH = CODE_BYTES * 8 // 5  # characters, without what stands between the groups


def _hash(account_id: UUID, text: str) -> bytes:
    return hashlib.sha256(account_id.bytes + text.encode()).digest()


def _plain(code: str) -> str | None:
    """The code as it was made, however it was typed; None for what cannot be one."""
    text = "".join(code.split()).replace("-", "").upper()
    fits = len(text) == LENGTH and text.isascii() and text.isalnum()
    return text if fits else None


async def make(session: AsyncSession, *, account_id: UUID) -> list[str]:
    """A new set in the place of the one before, whose codes are void from now on. This is the only time it is told."""
    made = [base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode() for _ in range(CODES)]
    await remove(session, account_id=account_id)
    session.add_all(RecoveryCode(account_id=account_id, code_hash=_hash(account_id, text)) for text in made)
    await session.flush()
    return ["-".join(text[start : start + GROUP] for start in range(0, LENGTH, GROUP)).lower() for text in made]


async def use(session: AsyncSession, *, account_id: UUID, code: str) -> bool:
    """Burn a code; of parallel tries with the same one, one succeeds."""
    text = _plain(code)
    if text is None:
        return False
    unused = (
        RecoveryCode.account_id == account_id,
        RecoveryCode.code_hash == _hash(account_id, text),
        RecoveryCode.used_at.is_(None),
    )
    burned = update(RecoveryCode).where(*unused).values(used_at=func.now()).returning(RecoveryCode.account_id)
    return await session.scalar(burned) is not None


async def left(session: AsyncSession, *, account_id: UUID) -> int:
    unused = (RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return await session.scalar(select(func.count()).select_from(RecoveryCode).where(*unused)) or 0


async def remove(session: AsyncSession, *, account_id: UUID) -> None:
    await session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
