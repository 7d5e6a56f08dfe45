"""What was uploaded, what became of it, and who uses it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class MediaState(StrEnum):
    UPLOADING = "uploading"
    PROCESSING = "processing"  # all is there, a worker has it or will
    READY = "ready"
    REFUSED = "refused"


class Media(Base):
    """One picture, from the announcement of its upload on."""

    __tablename__ = "media"
    __table_args__ = (
        CheckConstraint("state in ('uploading', 'processing', 'ready', 'refused')", name="state"),
        CheckConstraint("(state = 'ready') = (width is not null)", name="ready_has_width"),
        CheckConstraint("(state = 'refused') = (reason is not null)", name="refused_has_reason"),
        CheckConstraint("size > 0", name="has_size"),
        Index("ix_media_account_id_state", "account_id", "state"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))  # who sent it
    name: Mapped[str]  # as they called it; only ever shown
    size: Mapped[int] = mapped_column(BigInteger)  # bytes, as announced; once it is ready, of what we keep
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)  # as announced, where it was
    state: Mapped[str] = mapped_column(server_default=MediaState.UPLOADING)
    reason: Mapped[str | None]  # core/media/kinds.py
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    colour: Mapped[str | None]  # "#rrggbb", for the place until it is loaded
    job_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MediaBlock(Base):
    """A part of an upload that has arrived; it lies in the quarantine."""

    __tablename__ = "media_blocks"

    media_id: Mapped[UUID] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class MediaFile(Base):
    """A published file. Its name is the hash of its content, so two pictures may have the same file."""

    __tablename__ = "media_files"

    media_id: Mapped[UUID] = mapped_column(ForeignKey("media.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True, index=True)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(Integer)  # bytes


class MediaUse(Base):
    """Who shows a picture: it is kept for as long as there is one."""

    __tablename__ = "media_uses"

    media_id: Mapped[UUID] = mapped_column(ForeignKey("media.id"), primary_key=True)
    used_by: Mapped[str] = mapped_column(primary_key=True, index=True)  # as "post:<id>"
