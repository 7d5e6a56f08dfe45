"""Answers kept for clients that ask again with the same Idempotency-Key: what was created is not created twice."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, LargeBinary, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.errors import ClofyError, Kind

KEPT = timedelta(hours=24)  # as long as Stripe keeps its own (docs.stripe.com/api/idempotent_requests)


class KeptAnswer(Base):
    __tablename__ = "kept_answers"

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)  # ids and numbers
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class KeyReused(ClofyError):
    """This Idempotency-Key was used for another request."""

    kind = Kind.CONFLICT


class AnsweredMeanwhile(ClofyError):
    """The same request was answered while this one was under way."""

    kind = Kind.CONFLICT


def hash_of(route: str, body: bytes) -> bytes:
    return hashlib.sha256(route.encode() + b"\0" + body).digest()


async def find(session: AsyncSession, *, account_id: UUID, key: str, request_hash: bytes) -> dict[str, Any] | None:
    """The answer that was given to this request, if it was. Raises KeyReused if the key came with another one."""
    kept = await session.scalar(select(KeptAnswer).where(KeptAnswer.account_id == account_id, KeptAnswer.key == key))
    if kept is None:
        return None
    if kept.request_hash != request_hash:
        raise KeyReused
    return kept.answer


async def keep(
    session: AsyncSession, *, account_id: UUID, key: str, request_hash: bytes, answer: dict[str, Any]
) -> None:
    """Keep an answer in the transaction of what it tells of. Raises AnsweredMeanwhile: then roll all back."""
    row = insert(KeptAnswer).values(account_id=account_id, key=key, request_hash=request_hash, answer=answer)
    if await session.scalar(row.on_conflict_do_nothing().returning(KeptAnswer.key)) is None:
        raise AnsweredMeanwhile


async def forget(session: AsyncSession, *, before: datetime) -> int:
    """Forget answers that are older; returns how many."""
    gone = await session.execute(delete(KeptAnswer).where(KeptAnswer.created_at < before))
    return cast("CursorResult[Any]", gone).rowcount
