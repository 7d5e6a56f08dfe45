"""What proves, beside the password, that somebody is who has the account."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base

OF_ACCOUNT = "accounts.id"


class Method(StrEnum):
    """How a sign-in is completed, best first."""

    PASSKEY = "passkey"
    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"
    EMAIL_CODE = "email_code"


class Totp(Base):
    """An authenticator app. Lives until it is removed; one that was never confirmed, until the next try or a day."""

    __tablename__ = "totps"

    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # sealed; its plain text is shown once
    last_step: Mapped[int] = mapped_column(BigInteger, server_default="0")  # the highest that was accepted
    confirmed_at: Mapped[datetime | None]  # empty: enrolment has begun, and nothing asks for it yet
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Passkey(Base):
    """A key in somebody's device or password manager. Lives until it is removed."""

    __tablename__ = "passkeys"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"), index=True)
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    aaguid: Mapped[str]  # the model of the device, where it says
    transports: Mapped[list[str]] = mapped_column(JSONB)
    backup_eligible: Mapped[bool]
    backed_up: Mapped[bool]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    used_at: Mapped[datetime | None]


class Challenge(Base):
    """What a passkey must sign, once. Lives five minutes; the hourly purge takes what nobody came back for."""

    __tablename__ = "passkey_challenges"

    challenge: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    purpose: Mapped[str]
    bound_to: Mapped[bytes] = mapped_column(LargeBinary)  # hash of the cookie of who asked
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class RecoveryCode(Base):
    """One of ten, used once, for the day on which the other factor is lost. Lives until the next set is made."""

    __tablename__ = "recovery_codes"

    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SignInAttempt(Base):
    """The password was right, and the second step is to come: nobody is signed in. Lives five minutes."""

    __tablename__ = "sign_in_attempts"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"), index=True)
    password_mark: Mapped[bytes] = mapped_column(LargeBinary)  # of the password that was given: another one voids it
    expires_at: Mapped[datetime] = mapped_column(index=True)


class EmailCode(Base):
    """Six digits by mail for one sign-in attempt. Lives as long as it counts among the sends of ten minutes."""

    __tablename__ = "email_codes"
    __table_args__ = (Index("ix_email_codes_account_id_created_at", "account_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"))
    attempt_hash: Mapped[bytes] = mapped_column(LargeBinary)  # no key: it counts though its attempt is over
    purpose: Mapped[str]
    code_hash: Mapped[bytes] = mapped_column(LargeBinary)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LostFactor(Base):
    """Somebody has password and mailbox, and says that the second factor is lost. Lives a year, as the audit log."""

    __tablename__ = "lost_factors"
    __table_args__ = (
        CheckConstraint("outcome in ('stopped', 'done')", name="outcome"),
        Index("uq_lost_factors_open_account_id", "account_id", unique=True, postgresql_where=text("ended_at is null")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(OF_ACCOUNT, ondelete="CASCADE"))
    due_at: Mapped[datetime]  # before, nothing happens, and each day somebody may object
    told_at: Mapped[datetime]  # when the last mail about it was written
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
