"""What was bought, and what Stripe told us about it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
    func,
    text,
)
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
        CheckConstraint("reversed_minor between 0 and amount_minor", name="reversed_within"),
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
    taken_up: Mapped[int] = mapped_column(Integer, server_default="0")  # counts Stripe's words taken up, in their order
    reversed_minor: Mapped[int] = mapped_column(
        BigInteger, server_default="0"
    )  # refunded, or disputed; of amount_minor
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    paid_at: Mapped[datetime | None]

    def credits_of(self, amount_minor: int) -> int:
        """The credits, in millicredits, that a part of the price stands for."""
        return self.credits_mc * amount_minor // self.amount_minor


class RefundState(StrEnum):
    REQUESTED = "requested"  # by the buyer; Stripe may not know of it yet, the credits are already taken back
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"  # Stripe's spelling


class Refund(Base):
    """Money that goes back for a purchase, whoever began it: the buyer here, or someone at Stripe."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("state in ('requested', 'pending', 'succeeded', 'failed', 'canceled')", name="state"),
        CheckConstraint("amount_minor > 0", name="gives_something"),
        CheckConstraint("stripe_refund_id is not null or origin = 'buyer'", name="known_to_someone"),
        CheckConstraint("origin in ('buyer', 'stripe')", name="origin"),
        Index("ix_refunds_purchase_id", "purchase_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchases.id"))
    stripe_refund_id: Mapped[str | None] = mapped_column(unique=True)
    origin: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str]
    failure: Mapped[str | None]  # why it came to nothing: Stripe's failure_reason, or our own code
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Dispute(Base):
    """The payer's bank questions a payment. `status` is Stripe's; one that is `warning_...` only asks."""

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("amount_minor >= 0", name="never_below_zero"),
        Index("ix_disputes_purchase_id", "purchase_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # du_... or dp_...
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchases.id"))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Receipt(Base):
    """The numbered receipt of a paid purchase, as it was when it was issued. Numbers have no gaps."""

    __tablename__ = "receipts"
    __table_args__ = (CheckConstraint("number > 0", name="counts_from_one"),)

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    purchase_id: Mapped[UUID] = mapped_column(ForeignKey("purchases.id"), unique=True)
    buyer_name: Mapped[str]
    buyer_email: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ReceiptCounter(Base):
    """One row: the last number. Whoever issues a receipt locks it, so a number that is not used is not counted."""

    __tablename__ = "receipt_counter"
    __table_args__ = (CheckConstraint("one", name="one_row"),)

    one: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    last: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Reconciliation(Base):
    """What one comparison of Stripe's books with ours found, and what it put right."""

    __tablename__ = "reconciliations"
    __table_args__ = (Index("ix_reconciliations_started_at", "started_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    since: Mapped[datetime]  # Stripe's objects created after this were looked at
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime] = mapped_column(server_default=func.now())
    looked_at: Mapped[int]  # Checkout sessions, refunds and disputes at Stripe, and purchases of ours
    healed: Mapped[int]
    findings: Mapped[list[dict[str, Any]]] = mapped_column(
        JSONB
    )  # each {"class", "purchase", ...}, ids and numbers only


# The Checkout session's id; for what became of its payment, as a charge, a refund or a dispute, the payment intent's.
ABOUT = """
case when body #>> '{data,object,object}' = 'checkout.session' then body #>> '{data,object,id}'
    else body #>> '{data,object,payment_intent}' end
"""


class StripeEvent(Base):
    """A verified event as it came: the inbox. Its handling is a job, written in the same transaction."""

    __tablename__ = "stripe_events"
    __table_args__ = (
        Index("ix_stripe_events_about", "about"),
        Index("ix_stripe_events_received_at", "received_at"),  # the purge's, as the next
        Index("ix_stripe_events_with_payer", "received_at", postgresql_where=text("payer_gone_at is null")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)  # evt_...
    type: Mapped[str]
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    about: Mapped[str | None] = mapped_column(Computed(ABOUT, persisted=True))
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    handled_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # credited, nothing, ignored, or the code of what was wrong
    payer_gone_at: Mapped[datetime | None]  # when the purge left out of `body` who paid
