"""The audit log: who did what to which account, on whose behalf, with what outcome, and from where. Only ever added to.

Beside the log of the process (core/telemetry.py): this one is kept for a year, and people read their own part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base

AGENT_LENGTH = 300  # characters kept of what a browser calls itself


class Action(StrEnum):
    """What may be done, by the name that the log keeps; web/audit.py has the words for people."""

    REGISTERED = "registered"
    EMAIL_VERIFIED = "email_verified"
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    SESSION_REVOKED = "session_revoked"
    OTHER_SESSIONS_ENDED = "other_sessions_ended"
    RESET_ASKED = "reset_asked"
    PASSWORD_RESET = "password_reset"  # noqa: S105  # the name of what was done
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # the name of what was done
    EMAIL_CHANGE_ASKED = "email_change_asked"
    EMAIL_CHANGED = "email_changed"
    EMAIL_CHANGE_STOPPED = "email_change_stopped"
    PROFILE_CHANGED = "profile_changed"
    STEPPED_UP = "stepped_up"
    SECOND_FACTOR = "second_factor"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    RECOVERY_CODE_USED = "recovery_code_used"
    LOST_FACTOR_ASKED = "lost_factor_asked"
    LOST_FACTOR_STOPPED = "lost_factor_stopped"
    LOST_FACTOR_DONE = "lost_factor_done"
    DISABLED = "disabled"
    ENABLED = "enabled"
    ROLE_CHANGED = "role_changed"
    CREDITS_ADJUSTED = "credits_adjusted"
    REFUND_MADE = "refund_made"
    EXPORT_ASKED = "export_asked"
    EXPORT_READY = "export_ready"
    EXPORT_FETCHED = "export_fetched"
    MAIL_RESENT = "mail_resent"
    ERASURE_ASKED = "erasure_asked"
    ERASURE_UNDONE = "erasure_undone"
    ERASED = "erased"
    TEAM_MADE = "team_made"
    TEAM_DELETED = "team_deleted"
    TEAM_INVITED = "team_invited"
    TEAM_JOINED = "team_joined"
    TEAM_LEFT = "team_left"
    TEAM_REMOVED = "team_removed"
    TEAM_ROLE_CHANGED = "team_role_changed"
    TEAM_SHARING_CHANGED = "team_sharing_changed"
    REQUEST_FILED = "request_filed"
    REQUEST_CONFIRMED = "request_confirmed"
    REQUEST_DENIED = "request_denied"
    REQUEST_WITHDRAWN = "request_withdrawn"
    REQUEST_SEEN = "request_seen"
    REQUEST_HANDLED = "request_handled"
    RESTRICTED = "restricted"
    RESTRICTION_ENDED = "restriction_ended"
    RESTRICTION_END_ANNOUNCED = "restriction_end_announced"
    HOLD_PLACED = "hold_placed"
    HOLD_LIFTED = "hold_lifted"


# What anybody may do to an account, knowing its address, what an operator does, and what a task does once its time has
# come: it says nothing of its owner.
NOT_BY_THE_OWNER = frozenset(
    {
        Action.REGISTERED,
        Action.RESET_ASKED,
        Action.LOST_FACTOR_DONE,
        Action.EXPORT_READY,
        Action.ERASED,
        Action.DISABLED,
        Action.ENABLED,
        Action.ROLE_CHANGED,
        Action.HOLD_PLACED,
        Action.HOLD_LIFTED,
    }
)


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from. ip: as the trusted edge says (web/security.py)."""

    ip: str = ""
    user_agent: str = ""
    request_id: str = ""


NOBODY = Caller()  # a task, or an operator at the command line


class AuditEntry(Base):
    """One thing that was done, or refused. Lives 365 days, as the policy keeps transactions.

    A trigger refuses to change a row, or to delete one that is younger. No foreign key: it outlives accounts.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        CheckConstraint("outcome in ('done', 'refused')", name="outcome"),
        Index("ix_audit_entries_account_id_id", "account_id", "id"),
        Index("ix_audit_entries_at", "at"),  # the purge's
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    actor_id: Mapped[UUID | None]  # who; None: nobody that we know, or the house itself
    account_id: Mapped[UUID | None]  # on whose behalf: the account that it is about
    action: Mapped[str]
    object: Mapped[str]  # what exactly, as "session:<id>"; empty where the action says all
    outcome: Mapped[str]
    ip: Mapped[str]
    user_agent: Mapped[str]
    request_id: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)  # a reason, a change from and to; never a secret


async def note(
    session: AsyncSession,
    action: Action,
    *,
    account_id: UUID | None,
    actor_id: UUID | None = None,
    caller: Caller = NOBODY,
    about: str = "",
    outcome: Outcome = Outcome.DONE,
    facts: dict[str, Any] | None = None,
) -> None:
    """Write down what is done, in the transaction that does it. What is refused is noted in one that commits.

    account_id: whose account it is about; None where no account is known
    actor_id: who did it; left out: who has the account, unless it was refused, or is NOT_BY_THE_OWNER
    about: the object, as "factor:<id>"
    facts: JSON; no secrets, no words of a consultation
    """
    if actor_id is None and outcome is Outcome.DONE and action not in NOT_BY_THE_OWNER:
        actor_id = account_id
    session.add(
        AuditEntry(
            actor_id=actor_id,
            account_id=account_id,
            action=action,
            object=about,
            outcome=outcome,
            ip=caller.ip,
            user_agent=caller.user_agent[:AGENT_LENGTH],
            request_id=caller.request_id,
            facts=facts or {},
        )
    )
    await session.flush()


async def has_done(session: AsyncSession, action: Action, *, account_id: UUID) -> bool:
    """Whether this was done with the account within the year."""
    mine = (AuditEntry.account_id == account_id, AuditEntry.action == action, AuditEntry.outcome == Outcome.DONE)
    return bool(await session.scalar(select(select(AuditEntry.id).where(*mine).exists())))


async def history(
    session: AsyncSession, *, account_id: UUID, before: int | None = None, limit: int = 50
) -> Sequence[AuditEntry]:
    """What was done to an account, the latest first; before: the id of the last entry that was seen."""
    query = select(AuditEntry).where(AuditEntry.account_id == account_id)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return (await session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit))).all()
