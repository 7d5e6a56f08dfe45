"""What we write on our own account, as rows."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Integer, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class AnnouncementState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"


class Announcement(Base):
    """News for all who want them, and how far down the accounts it has come."""

    __tablename__ = "announcements"
    __table_args__ = (CheckConstraint("state in ('running', 'stopped', 'done')", name="state"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    title: Mapped[str]
    text: Mapped[str]
    made_by: Mapped[UUID]  # an admin's account
    state: Mapped[str] = mapped_column(server_default=AnnouncementState.RUNNING)
    round: Mapped[int] = mapped_column(SmallInteger, server_default="0")  # how often it was made to go on
    reached: Mapped[UUID | None]  # the last account that was looked at
    written: Mapped[int] = mapped_column(Integer, server_default="0")  # mails so far
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
