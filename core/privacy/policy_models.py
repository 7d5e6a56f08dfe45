"""Versions of what we publish about data and terms, and what each person did with them, as rows."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class Document(StrEnum):
    PRIVACY = "privacy"
    TERMS = "terms"
    COOKIES = "cookies"

    @property
    def heading(self) -> str:
        return {"privacy": "Privacy policy", "terms": "Terms of service", "cookies": "Cookies"}[self]


class Weight(StrEnum):
    FIRST = "first"  # there was none before it; who registers agrees to it
    MINOR = "minor"  # told on our pages
    MATERIAL = "material"  # told by mail a month before, and agreed to or not


class Deed(StrEnum):
    """What a person had to do with a version."""

    TOLD = "told"  # a mail or a notice was written to them
    SHOWN = "shown"  # a page of ours named it to them
    SEEN = "seen"  # they opened it
    ACCEPTED = "accepted"
    DECLINED = "declined"


class PolicyVersion(Base):
    """A document as it was published. Its text is whole, as people read it: no template makes it anew."""

    __tablename__ = "policy_versions"
    __table_args__ = (
        CheckConstraint("document in ('privacy', 'terms', 'cookies')", name="document"),
        CheckConstraint("weight in ('first', 'minor', 'material')", name="weight"),
        CheckConstraint("number > 0", name="number"),
    )

    document: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    weight: Mapped[str]
    summary: Mapped[str]  # what changed, for people
    text: Mapped[str]  # Markdown
    hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256 of the text
    effective_at: Mapped[datetime]
    published_at: Mapped[datetime]
    # People are told of it a batch at a time: how far down the accounts that has come, and when it was through.
    reached: Mapped[UUID | None]
    told: Mapped[int] = mapped_column(Integer, server_default="0")
    all_told_at: Mapped[datetime | None]


class PolicyEngagement(Base):
    """The proof of what was shown to whom, and what they said to it; told, shown and seen are kept once."""

    __tablename__ = "policy_engagements"
    __table_args__ = (
        ForeignKeyConstraint(
            ["document", "number"],
            ["policy_versions.document", "policy_versions.number"],
            name="fk_policy_engagements_document_number_policy_versions",
        ),
        CheckConstraint("what in ('told', 'shown', 'seen', 'accepted', 'declined')", name="what"),
        Index("ix_policy_engagements_account_id_document", "account_id", "document", "number"),
        Index(
            "uq_policy_engagements_once",
            "account_id",
            "document",
            "number",
            "what",
            unique=True,
            postgresql_where=text("what in ('told', 'shown', 'seen')"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    document: Mapped[str]
    number: Mapped[int] = mapped_column(Integer)
    what: Mapped[str]
    via: Mapped[str]  # where: "registration", "page", "mail", "notice", "command"
    at: Mapped[datetime] = mapped_column(server_default=func.now())
