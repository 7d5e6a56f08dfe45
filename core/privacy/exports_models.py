"""Copies of all that is a person's, made when they ask."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class ExportState(StrEnum):
    BUILDING = "building"  # its job waits or runs
    READY = "ready"
    FAILED = "failed"
    REPLACED = "replaced"  # by a later one; its file is gone


IS_BUILDING = text("state = 'building'")  # of the index; as a parameter PostgreSQL would not know it again


class Export(Base):
    """One copy. The row and its file live seven days from the end of its making."""

    __tablename__ = "exports"
    __table_args__ = (
        CheckConstraint("state in ('building', 'ready', 'failed', 'replaced')", name="state"),
        CheckConstraint("(state = 'building') = (ended_at is null)", name="ended_has_date"),
        CheckConstraint("state <> 'ready' or blob is not null", name="ready_has_blob"),
        CheckConstraint("(state = 'failed') = (reason is not null)", name="failed_has_reason"),
        Index("uq_exports_building", "account_id", unique=True, postgresql_where=IS_BUILDING),
        Index("ix_exports_account_id_id", "account_id", "id"),
        Index("ix_exports_ended_at", "ended_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    request_id: Mapped[UUID | None]  # the request that it answers, where there is one
    job_id: Mapped[UUID]
    state: Mapped[str] = mapped_column(server_default=ExportState.BUILDING)
    reason: Mapped[str | None]  # the code of what went wrong
    blob: Mapped[str | None]  # its name in Room.EXPORTS
    steps: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # what it is made of: tables, then files
    steps_done: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    files: Mapped[int] = mapped_column(Integer, server_default="0")
    missing: Mapped[int] = mapped_column(Integer, server_default="0")  # files that the storage did not have
    bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")  # of the zip, so far
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]
    fetched_at: Mapped[datetime | None]  # when a link was given, last
