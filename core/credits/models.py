"""Credits in integer millicredits (`_mc`; 1 credit = 1,000 mc): balances, the entries they follow from, and holds."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class CreditAccount(Base):
    """What an account has: the sum of its entries and of its open holds, kept in the same transactions as they."""

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint("balance_mc >= 0", name="never_below_zero"),
        CheckConstraint("held_mc between 0 and balance_mc", name="holds_are_covered"),
    )

    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    balance_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")
    held_mc: Mapped[int] = mapped_column(BigInteger, server_default="0")


class CreditEntry(Base):
    """One change of a balance. Never updated and never deleted: a trigger refuses both."""

    __tablename__ = "credit_entries"
    __table_args__ = (
        CheckConstraint("amount_mc <> 0", name="not_nothing"),
        CheckConstraint("balance_after_mc >= 0", name="never_below_zero"),
        Index("ix_credit_entries_account_id_id", "account_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("credit_accounts.account_id"))
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    balance_after_mc: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]  # purchase, grant, usage
    source: Mapped[str] = mapped_column(unique=True)  # the cause, as "purchase:<id>": counted once
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
        CheckConstraint("(state = 'held') = (resolved_at is null)", name="resolved_once"),
        CheckConstraint("(state = 'settled') = (settled_mc is not null)", name="settled_has_amount"),
        Index("ix_credit_holds_open", "expires_at", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("credit_accounts.account_id"))
    amount_mc: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(server_default=HoldState.HELD)
    settled_mc: Mapped[int | None] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(unique=True)  # as "generation:<id>"
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
