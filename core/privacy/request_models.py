"""What people ask of us under data protection law, and each step of it, as rows."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from core.database import Base


class RequestKind(StrEnum):
    """GDPR, articles 15, 20, 16, 17, 18, 21; CCPA, sections 1798.120 and 1798.135."""

    ACCESS = "access"
    PORTABILITY = "portability"
    CORRECTION = "correction"
    ERASURE = "erasure"
    RESTRICTION = "restriction"
    OBJECTION = "objection"
    OPT_OUT = "opt_out"


class Via(StrEnum):
    ACCOUNT = "account"
    MAIL = "mail"


class State(StrEnum):
    OPEN = "open"  # an admin is to answer it
    WAITING_FOR_IDENTITY = "waiting_for_identity"  # it came by mail, and the account's owner has not confirmed it
    WORKING = "working"  # a job does it: an export, an erasure in its days of grace
    ANSWERED = "answered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


UNFINISHED = (State.OPEN, State.WAITING_FOR_IDENTITY, State.WORKING)
IS_UNFINISHED = text("state in ('open', 'waiting_for_identity', 'working')")


class Did(StrEnum):
    """What a step was."""

    FILED = "filed"
    ASKED_AGAIN = "asked_again"
    ACKNOWLEDGED = "acknowledged"
    IDENTITY_ASKED = "identity_asked"
    IDENTIFIED = "identified"
    WORKING = "working"
    EXTENDED = "extended"
    NOTED = "noted"
    ANSWERED = "answered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class PrivacyRequest(Base):
    """One request. Of each kind an account has one unfinished at a time, whichever ways it was asked by.

    No foreign key: it outlives the account. The dates follow from `received_at` (core/privacy/clocks.py).
    """

    __tablename__ = "privacy_requests"
    __table_args__ = (
        CheckConstraint(
            "kind in ('access', 'portability', 'correction', 'erasure', 'restriction', 'objection', 'opt_out')",
            name="kind",
        ),
        CheckConstraint(
            "state in ('open', 'waiting_for_identity', 'working', 'answered', 'refused', 'withdrawn')", name="state"
        ),
        CheckConstraint(
            "(closed_at is null) = (state in ('open', 'waiting_for_identity', 'working'))", name="closed_has_date"
        ),
        Index("uq_privacy_requests_unfinished", "account_id", "kind", unique=True, postgresql_where=IS_UNFINISHED),
        Index("ix_privacy_requests_account_id_id", "account_id", "id"),
        Index("ix_privacy_requests_due", "gdpr_due", postgresql_where=IS_UNFINISHED),
        Index("ix_privacy_requests_closed_at", "closed_at"),  # the purge's
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID | None]  # whose data it is about; None: no account has the address that it named
    kind: Mapped[str]
    sources: Mapped[list[str]] = mapped_column(ARRAY(String))  # the ways it was asked by
    state: Mapped[str]
    sender: Mapped[str | None]  # the address that it was mailed from
    words: Mapped[str]  # what the person wrote to it
    received_at: Mapped[datetime]
    acknowledge_by: Mapped[date]
    gdpr_due: Mapped[date]
    ccpa_due: Mapped[date]
    acknowledged_at: Mapped[datetime | None]
    identity: Mapped[str]  # how we know that it was them; empty: we do not
    extended_at: Mapped[datetime | None]
    extension_reason: Mapped[str | None]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # what was answered, in words
    basis: Mapped[str | None]  # why it was refused


class RequestStep(Base):
    """What was done with a request. Only ever added to; a trigger sees to it. It goes with its request."""

    __tablename__ = "privacy_request_steps"
    __table_args__ = (Index("ix_privacy_request_steps_request_id", "request_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    request_id: Mapped[UUID] = mapped_column(ForeignKey("privacy_requests.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    did: Mapped[str]
    manner: Mapped[str]  # how: by the account page, by mail, by an admin, by the house itself
    words: Mapped[str]  # what was said
    basis: Mapped[str | None]
    by: Mapped[UUID | None]  # an admin's account
