"""What was bought, and what Stripe told us about it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class PurchaseState(StrEnum):
    OPEN = "open"  # the session is being made, or waits for the buyer
    PAID = "paid"  # credited, in the same transaction
    EXPIRED = "expired"
    FAILED = "failed"


class Purchase(Base):
    """One attempt to buy a bundle: our own record of price and credits, against which Stripe's word is checked."""

    __tablename__ = "purchases"
    __table_args__ = (
        UniqueConstraint("account_id", "attempt_key"),
        CheckConstraint("state in ('open', 'paid', 'expired', 'failed')", name="state"),
        CheckConstraint("amount_minor > 0 and credits_mc > 0", name="sells_something"),
        CheckConstraint("currency = lower(currency) and length(currency) = 3", name="currency"),
        CheckConstraint("(state = 'paid') = (paid_at is not null)", name="paid_has_date"),
        Index("ix_purchases_account_id_id", "account_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    attempt_key: Mapped[str]  # the client's Idempotency-Key: a double click is one purchase
    bundle: Mapped[str]
    credits_mc: Mapped[int] = mapped_column(BigInteger)
    amount_minor: Mapped[int] = mapped_column(BigInteger)  # in the currency's smallest unit
    currency: Mapped[str]
    livemode: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(server_default=PurchaseState.OPEN)
    stripe_session_id: Mapped[str | None] = mapped_column(unique=True)
    stripe_payment_intent_id: Mapped[str | None] = mapped_column(unique=True)  # by which refunds and disputes name it
    checkout_url: Mapped[str | None]
    asked_at: Mapped[datetime | None]  # when we last asked Stripe for the waiting buyer: how often is bounded
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    paid_at: Mapped[datetime | None]


class StripeEvent(Base):
    """A verified event as it came: the inbox. Its handling is a job, written in the same transaction."""

    __tablename__ = "stripe_events"

    id: Mapped[str] = mapped_column(primary_key=True)  # evt_...
    type: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # credited, nothing, ignored, or the code of what was wrong
