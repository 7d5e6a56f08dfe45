"""Mails as rows: written with their cause, sent by a task, once for each key."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"  # the server has all of it but the last dot: from here on it may have been accepted
    SENT = "sent"
    DEFERRED = "deferred"  # surely not accepted yet, and tried again
    BOUNCED = "bounced"  # the server refuses this recipient, or this mail, for good
    SUPPRESSED = "suppressed"  # never handed over: its reader does not want it, or the address bounced before
    FAILED = "failed"  # given up, or nobody knows whether it was accepted; kept for an admin


def _one_of(words: type[StrEnum]) -> str:
    return ", ".join(repr(str(word)) for word in words)


class Delivery(Base):
    __tablename__ = "mail_deliveries"
    __table_args__ = (
        CheckConstraint(f"state in ({_one_of(DeliveryState)})", name="state"),
        Index("ix_mail_deliveries_account_id_created_at", "account_id", "created_at"),
        Index("ix_mail_deliveries_recipient_created_at", "recipient", "created_at"),
        Index("ix_mail_deliveries_created_at", "created_at"),  # the purge's, as the next
        Index("ix_mail_deliveries_with_facts", "created_at", postgresql_where=text("facts <> '{\"wiped\"\\: true}'")),
        Index("ix_mail_deliveries_state", "state", "id", postgresql_where=text("state <> 'sent'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    key: Mapped[str] = mapped_column(unique=True)  # what it is about, as "receipt:<purchase id>": one mail for each
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    recipient: Mapped[str]
    template: Mapped[str]
    language: Mapped[str] = mapped_column(server_default="en")  # of the recipient, when it was written
    facts: Mapped[dict[str, Any]] = mapped_column(
        JSONB
    )  # what the template is rendered from; secrets are wiped once sent
    state: Mapped[str] = mapped_column(server_default=DeliveryState.QUEUED)
    error: Mapped[str | None]
    resends: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # how often an admin had it tried anew
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]


class Topic(StrEnum):
    """What a person may turn off. All else is about their own doing, and cannot be."""

    ANNOUNCEMENTS = "announcements"
    LOW_BALANCE = "low_balance"


class Consent(Base):
    """One choice of a person, for or against a topic; the latest counts, the others are the proof of what was."""

    __tablename__ = "mail_consents"
    __table_args__ = (
        CheckConstraint(f"topic in ({_one_of(Topic)})", name="topic"),
        Index("ix_mail_consents_topic_account_id_id", "topic", "account_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    topic: Mapped[str]
    wanted: Mapped[bool]
    via: Mapped[str]  # where it was chosen: "account" or "mail"
    words: Mapped[int] = mapped_column(SmallInteger)  # the version of what they were asked (core/mail/consents.py)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
