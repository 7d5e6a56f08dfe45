"""That an account is to be erased, or was: a number, times, and the proof; nothing that says who it was."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class ErasureState(StrEnum):
    GRACE = "grace"  # it can be undone
    RUNNING = "running"  # it cannot any more
    DONE = "done"
    UNDONE = "undone"


OPEN = (ErasureState.GRACE, ErasureState.RUNNING)


class AccountErasure(Base):
    """One request to erase an account. No foreign key: it outlives whatever becomes of the account's row."""

    __tablename__ = "erasures"
    __table_args__ = (
        CheckConstraint("state in ('grace', 'running', 'done', 'undone')", name="state"),
        CheckConstraint("(state in ('done', 'undone')) = (ended_at is not null)", name="ended_has_date"),
        CheckConstraint("(state = 'done') = (proof is not null)", name="done_has_proof"),
        Index("uq_erasures_open", "account_id", unique=True, postgresql_where=text("state in ('grace', 'running')")),
        Index("ix_erasures_account_id", "account_id"),
        Index("uq_erasures_link_hash", "link_hash", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID]
    request_id: Mapped[UUID | None]  # the request that it answers, where there is one
    state: Mapped[str] = mapped_column(server_default=ErasureState.GRACE)
    waits_for: Mapped[str | None]  # why it is not done although it is due: "legal-hold", "last-admin"
    asked_at: Mapped[datetime]
    due_at: Mapped[datetime]
    reminded_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    link_hash: Mapped[bytes | None] = mapped_column(LargeBinary)  # of the token by which the proof is read
    proof: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
