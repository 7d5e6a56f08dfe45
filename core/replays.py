"""Answers kept for clients that ask again with the same Idempotency-Key: what was created is not created twice."""

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import LargeBinary, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base
from core.direct import Hot, Unit
from core.errors import ClofyError, Kind


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


_FIND = Hot("""
    select request_hash, cast(answer as text) from kept_answers where account_id = :account_id and key = :key
""")

_KEEP = Hot("""
    insert into kept_answers (account_id, key, request_hash, answer)
    values (:account_id, :key, :request_hash, cast(:answer as jsonb))
    on conflict do nothing returning key
""")


async def find(session: Unit, *, account_id: UUID, key: str, request_hash: bytes) -> dict[str, Any] | None:
    """The answer that was given to this request, if it was. Raises KeyReused if the key came with another one."""
    kept = await _FIND.one(session, account_id=account_id, key=key)
    if kept is None:
        return None
    its_hash, answer = kept
    if its_hash != request_hash:
        raise KeyReused
    found: dict[str, Any] = orjson.loads(answer)
    return found


async def keep(session: Unit, *, account_id: UUID, key: str, request_hash: bytes, answer: dict[str, Any]) -> None:
    """Keep an answer in the transaction of what it tells of. Raises AnsweredMeanwhile: then roll all back."""
    told = orjson.dumps(answer, option=orjson.OPT_UTC_Z).decode()  # as the web writes times
    if await _KEEP.one(session, account_id=account_id, key=key, request_hash=request_hash, answer=told) is None:
        raise AnsweredMeanwhile
