"""What stops the purge, what it leaves as a proof, and the marks by which we see that it does its work."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class LegalHold(Base):
    """A reason of law why nothing of an account may go by itself. No foreign key: it outlives accounts."""

    __tablename__ = "legal_holds"
    __table_args__ = (
        Index("ix_legal_holds_open", "account_id", postgresql_where=text("lifted_at is null")),
        Index("ix_legal_holds_lifted_at", "lifted_at"),  # the purge's
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID]
    reason: Mapped[str]
    placed_by: Mapped[UUID | None]  # an admin; None: an operator at the command line
    placed_at: Mapped[datetime]
    lifted_by: Mapped[UUID | None]
    lifted_at: Mapped[datetime | None]


class HeldText(Base):
    """Words of an account under a legal hold, taken out of a day before that day was dropped."""

    __tablename__ = "held_texts"
    __table_args__ = (
        Index("ix_held_texts_account_id", "account_id"),
        Index("ix_held_texts_said_on", "said_on"),  # the purge's
    )

    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID]
    said_on: Mapped[date]
    text: Mapped[str]


class PurgeReceipt(Base):
    """What one run of the purge did to one class of data. Signed, and chained: none can be changed or taken out."""

    __tablename__ = "purge_receipts"
    __table_args__ = (Index("ix_purge_receipts_ended_at", "ended_at"),)  # the purge's

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    run_id: Mapped[UUID]
    data_class: Mapped[str]
    gone: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)  # of each place: how many went, and what was due
    begun_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    previous: Mapped[bytes] = mapped_column(
        LargeBinary, unique=True
    )  # the hash of the receipt before; of the first: b""
    hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    key_id: Mapped[str]  # which of our keys signed it
    signature: Mapped[bytes] = mapped_column(LargeBinary)


class Canary(Base):
    """A row of nobody's that was put among the others of a table, to see whether it goes on time."""

    __tablename__ = "canaries"
    __table_args__ = (
        Index("ix_canaries_waiting", "due_at", postgresql_where=text("gone_at is null")),
        Index("ix_canaries_gone_at", "gone_at"),  # the purge's
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)  # by which its row is known
    place: Mapped[str]  # the table
    planted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]  # when it was first seen to be gone
