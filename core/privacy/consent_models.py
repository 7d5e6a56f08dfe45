"""What people agreed to beyond what the service needs, and counts of pages, which name nobody, as rows."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Purpose(StrEnum):
    ANALYTICS = "analytics"


class Via(StrEnum):
    """Where a choice was made."""

    PANEL = "panel"  # the question on a page
    COOKIES = "cookies"  # the cookie settings
    ACCOUNT = "account"  # by a program, through the API
    SIGNAL = "signal"  # the browser said no for its person (Global Privacy Control)


class PurposeConsent(Base):
    """One choice of a person about a purpose; the latest counts, the others are the proof of what was."""

    __tablename__ = "consents"
    __table_args__ = (
        CheckConstraint("purpose in ('analytics')", name="purpose"),
        CheckConstraint("via in ('panel', 'cookies', 'account', 'signal')", name="via"),
        Index("ix_consents_account_id_purpose_id", "account_id", "purpose", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    wanted: Mapped[bool]
    words: Mapped[int] = mapped_column(SmallInteger)  # the version of what they were asked (core/privacy/consents.py)
    via: Mapped[str]
    gpc: Mapped[bool]  # whether the browser sent the opt-out signal with it
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class AnalyticsCount(Base):
    """How often something was seen on a day. Nobody is in it: no address, no id, no path with an id."""

    __tablename__ = "analytics_counts"

    day: Mapped[date] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)  # as "/services/<slug>"; "*" for what is of the whole site
    what: Mapped[str] = mapped_column(primary_key=True)  # "view", "browser:Firefox", "from:example.org"
    n: Mapped[int] = mapped_column(BigInteger)
