"""Mails as rows: written with their cause, sent by a task, once for each key."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"


class Delivery(Base):
    __tablename__ = "mail_deliveries"
    __table_args__ = (
        CheckConstraint("state in ('queued', 'sending', 'sent', 'deferred', 'failed')", name="state"),
        Index("ix_mail_deliveries_account_id_created_at", "account_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    key: Mapped[str] = mapped_column(unique=True)  # what it is about, as "receipt:<purchase id>": one mail for each
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    recipient: Mapped[str]
    template: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(
        JSONB
    )  # what the template is rendered from; secrets are wiped once sent
    state: Mapped[str] = mapped_column(server_default=DeliveryState.QUEUED)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
