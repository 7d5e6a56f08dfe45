"""Notices as rows: what a person finds in their inbox on our pages, written with its cause, once for each key."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Notice(Base):
    """A trigger tells each change of them to the web processes (core/endings.py), whoever made it."""

    __tablename__ = "notices"
    __table_args__ = (
        Index("ix_notices_account_id_id", "account_id", "id"),
        Index("ix_notices_created_at", "created_at"),  # the purge's
        Index("ix_notices_unread", "account_id", postgresql_where=text("read_at is null")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    key: Mapped[str] = mapped_column(unique=True)  # that of the mail with the same cause
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)  # what its words are made of (web/notices.py)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    read_at: Mapped[datetime | None]
