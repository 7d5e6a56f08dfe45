"""Credits in integer millicredits (`_mc`; 1 credit = 1,000 mc): balances, their entries, lots and holds."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class CreditAccount(Base):
    """What an account has, kept in the same moves as its entries, lots and holds.

    balance = free + held - owed: what its lots have left, what open holds set aside, what was used and no lot covers.
    """

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint(
            "held_mc >= 0 and owed_mc >= 0 and balance_mc - held_mc + owed_mc >= 0", name="never_below_zero"
        ),
        CheckConstraint("owed_mc = 0 or balance_mc - held_mc + owed_mc = 0", name="who_owes_has_nothing_free"),
    )

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    balance_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    held_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    owed_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")


class EntryKind(StrEnum):
    """What moved a balance. The first three bring a lot."""

    PURCHASE = "purchase"
    GRANT = "grant"
    PROMOTION = "promotion"
    USAGE = "usage"
    REFUND = "refund"
    DISPUTE = "dispute"  # taken back while, or because, the payer's bank questions the payment
    RESTORED = "restored"  # a refund that failed, a dispute that was won
    EXPIRY = "expiry"
    CORRECTION = "correction"  # an admin took something; what is given is a grant


class CreditEntry(Base):
    """One change of a balance. Never updated and never deleted: a trigger refuses both."""

    __tablename__ = "credit_entries"
    __table_args__ = (
        CheckConstraint("amount_mc <> 0", name="not_nothing"),
        CheckConstraint(f"kind in ({', '.join(repr(str(kind)) for kind in EntryKind)})", name="kind"),
        Index("ix_credit_entries_account_id_id", "account_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("credit_accounts.account_id"))
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    balance_after_mc: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]
    source: Mapped[str] = mapped_column(unique=True)  # the cause, as "purchase:<id>" or "purchase:<id>:refund:1"
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class CreditLot(Base):
    """Credits that came in together; where each of them is now."""

    __tablename__ = "credit_lots"
    __table_args__ = (
        CheckConstraint("amount_mc > 0", name="gives_something"),
        CheckConstraint(
            "left_mc >= 0 and held_mc >= 0 and spent_mc >= 0 and reversed_mc >= 0 and expired_mc >= 0",
            name="parts_never_below_zero",
        ),
        CheckConstraint(
            "amount_mc = left_mc + held_mc + spent_mc + reversed_mc + expired_mc", name="parts_are_the_whole"
        ),
        Index("ix_credit_lots_left", "account_id", "expires_at", "id", postgresql_where=text("left_mc > 0")),
        Index(
            "ix_credit_lots_to_expire",
            "expires_at",
            postgresql_where=text("left_mc > 0 and expires_at is not null"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("credit_accounts.account_id"))
    source: Mapped[str] = mapped_column(unique=True)  # as that of the entry that brought it
    kind: Mapped[str]
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    left_mc: Mapped[int] = mapped_column(BigInteger)
    held_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    spent_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reversed_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    expired_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    moves: Mapped[int] = mapped_column(Integer, server_default="0")  # counts reversals and expiries, for their sources
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class HoldState(StrEnum):
    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"


class CreditHold(Base):
    """Credits set aside for a cause that may cost up to this much; resolved once."""

    __tablename__ = "credit_holds"
    __table_args__ = (
        CheckConstraint("amount_mc > 0", name="holds_something"),
        CheckConstraint("state in ('held', 'settled', 'released')", name="state"),
        CheckConstraint("settled_mc between 0 and amount_mc", name="settles_within"),
        CheckConstraint("uncovered_mc between 0 and amount_mc", name="uncovered_within"),
        CheckConstraint("(state = 'held') = (resolved_at is null)", name="resolved_once"),
        CheckConstraint("(state = 'settled') = (settled_mc is not null)", name="settled_has_amount"),
        Index("ix_credit_holds_open", "expires_at", postgresql_where=text("state = 'held'")),
        Index("ix_credit_holds_account_id_open", "account_id", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("credit_accounts.account_id"))
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    uncovered_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")  # its lot was taken back meanwhile
    state: Mapped[str] = mapped_column(server_default=HoldState.HELD)
    settled_mc: Mapped[int | None] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(unique=True)  # as "generation:<id>"
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]


class CreditPin(Base):
    """Which credits an open hold is made of; gone with its end."""

    __tablename__ = "credit_pins"
    __table_args__ = (
        CheckConstraint("amount_mc > 0", name="pins_something"),
        Index("ix_credit_pins_lot_id", "lot_id"),
    )

    hold_id: Mapped[UUID] = mapped_column(ForeignKey("credit_holds.id"), primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(ForeignKey("credit_lots.id"), primary_key=True)
    amount_mc: Mapped[int] = mapped_column(BigInteger)


class CreditAdjustment(Base):
    """Credits that an admin gave or took, and why; the entry's source is "adjustment:<id>"."""

    __tablename__ = "credit_adjustments"
    __table_args__ = (
        CheckConstraint("amount_mc <> 0", name="not_nothing"),
        CheckConstraint("length(trim(reason)) > 0", name="has_reason"),
        UniqueConstraint("made_by", "attempt_key"),
        Index("ix_credit_adjustments_account_id_id", "account_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    made_by: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    attempt_key: Mapped[str]  # of the form that the admin sent: a double click is one
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
