"""Teams: who is in one, who is asked to join, and who has looked at what a member does."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class TeamRole(StrEnum):
    OWNER = "owner"
    MEMBER = "member"


class Sees(StrEnum):
    """What owners see of a member, as the member agreed to it."""

    USAGE = "usage"  # how many questions to which service on which day, and what they cost
    CONTENT = "content"  # that, and the words of what is begun from then on


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Member(Base):
    """An account in a team. Nothing from before `joined_at` is shown to owners, and nothing at all after leaving."""

    __tablename__ = "team_members"
    __table_args__ = (CheckConstraint("role in ('owner', 'member')", name="role"),)

    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(
        ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str]
    joined_at: Mapped[datetime]
    content_since: Mapped[datetime | None]  # owners see consultations that were begun from then on; empty: none

    @property
    def sees(self) -> Sees:
        return Sees.USAGE if self.content_since is None else Sees.CONTENT


class Invitation(Base):
    """An address that is asked to join. The row, and the address with it, goes when it is answered, or at its end."""

    __tablename__ = "team_invitations"
    __table_args__ = (UniqueConstraint("team_id", "email_key"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    team_id: Mapped[UUID] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"))
    email: Mapped[str]  # as the owner wrote it
    email_key: Mapped[str] = mapped_column(index=True)  # normalised, as of an account
    invited_by: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class LookedAt(StrEnum):
    USAGE = "usage"
    LIST = "list"  # of consultations, with how each begins
    CONSULTATION = "consultation"


class Look(Base):
    """An owner has looked at what a member does; written before it is shown, and shown to the member.

    A trigger refuses to change one. It outlives the team, so that nobody hides a look by deleting the team.
    """

    __tablename__ = "team_looks"
    __table_args__ = (
        CheckConstraint("what in ('usage', 'list', 'consultation')", name="what"),
        Index("ix_team_looks_account_id_id", "account_id", "id"),
        Index("ix_team_looks_at", "at"),  # the purge's
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))  # at whose
    viewer_id: Mapped[UUID]  # who looked
    team_id: Mapped[UUID]
    team_name: Mapped[str]  # as it was called then
    what: Mapped[str]
    consultation_id: Mapped[UUID | None]
    at: Mapped[datetime]
