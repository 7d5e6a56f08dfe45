"""Who people are to us, how they prove it, and where they are signed in."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("role in ('user', 'admin')", name="role"),
        CheckConstraint("erased_at is null or disabled_at is not null", name="erased_is_shut"),
        Index("ix_accounts_unproven", "created_at", postgresql_where=text("email_verified_at is null")),  # the purge's
        Index("ix_accounts_erased_at", "erased_at", postgresql_where=text("erased_at is not null")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    email: Mapped[str]  # as the person wrote it
    email_key: Mapped[str] = mapped_column(unique=True)  # normalised: what makes two addresses the same
    password_hash: Mapped[str]
    name: Mapped[str]
    company: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default=Role.USER)
    email_verified_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    closing_at: Mapped[datetime | None]  # when it is to be erased; until then its owner may change their mind
    erased_at: Mapped[datetime | None]  # from then on it is a number, to which the books point
    # Data is kept and nothing else is done with it (GDPR, article 18); until: an admin has announced its end.
    restricted_at: Mapped[datetime | None]
    restricted_until: Mapped[datetime | None]
    email_codes: Mapped[bool] = mapped_column(server_default=false())  # a code by mail is asked for
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AccountCode(Base):
    """A short code that was mailed to prove an address: hashed, with an end, a bounded number of tries, used once."""

    __tablename__ = "account_codes"
    __table_args__ = (Index("ix_account_codes_account_id_purpose", "account_id", "purpose"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    # What this very registration asked for, and which browser asked: proving the address takes these over, so that a
    # stranger who registers somebody's address in between does not slip a password of his own under the owner's code.
    password_hash: Mapped[str | None]
    name: Mapped[str | None]
    company: Mapped[str | None]
    policies: Mapped[str | None]  # the versions of our texts that it was agreed to with, as core/privacy writes them
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebSession(Base):
    """A browser that is signed in. The cookie carries the token, the row only its hash."""

    __tablename__ = "web_sessions"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True, server_default=text("uuidv7()"))  # its name in lists of devices
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    user_agent: Mapped[str]
    ip: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]  # the absolute end; the idle one follows from seen_at
    proven_at: Mapped[datetime] = mapped_column(server_default=func.now())  # when somebody last proved who they are
    factor: Mapped[str | None]  # by which second factor, as in core/accounts/factors; empty: by the password alone
