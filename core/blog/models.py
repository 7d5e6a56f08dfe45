"""Posts, all that they ever said, what of them is public, and what readers do with it."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base


class PostState(StrEnum):
    DRAFT = "draft"
    REVIEW = "review"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    UNLISTED = "unlisted"  # whoever has the address reads it; no list, feed, search or sitemap has it
    ARCHIVED = "archived"


STATES = ", ".join(repr(str(state)) for state in PostState)


class Post(Base):
    """A post as its editors see it. Its text is the revision of the number `version`."""

    __tablename__ = "posts"
    __table_args__ = (
        CheckConstraint(f"state in ({STATES})", name="state"),
        CheckConstraint("(state = 'scheduled') = (scheduled_at is not null)", name="scheduled_has_time"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    state: Mapped[str] = mapped_column(server_default=PostState.DRAFT)
    version: Mapped[int] = mapped_column(server_default="1")
    scheduled_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]  # first
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class PostRevision(Base):
    """What a post said after one save. Never changed."""

    __tablename__ = "post_revisions"
    __table_args__ = (Index("uq_post_revisions_post_id_number", "post_id", "number", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"))
    number: Mapped[int | None]  # None: it came too late, after somebody else's; kept aside so that no text is lost
    based_on: Mapped[int]  # the number of the one that its writer had before
    source: Mapped[str]  # core/blog/front_matter.py
    made_by: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    made_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class PostSlug(Base):
    """Every address that a post ever had: an old one leads to the new one for ever, and to no other post."""

    __tablename__ = "post_slugs"
    __table_args__ = (Index("ix_post_slugs_post_id", "post_id"),)

    slug: Mapped[str] = mapped_column(primary_key=True)
    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"))


class PostPage(Base):
    """What the public sees of a post: one revision, taken apart and rendered. Gone when it is no longer public."""

    __tablename__ = "post_pages"
    __table_args__ = (
        Index("ix_post_pages_published_at", "published_at"),
        Index("ix_post_pages_tags", "tags", postgresql_using="gin"),
        Index("ix_post_pages_words", "words", postgresql_using="gin"),
    )

    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int]
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    summary: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(ARRAY(String))
    author: Mapped[str]
    author_slug: Mapped[str]
    cover: Mapped[str]
    cover_alt: Mapped[str]
    description: Mapped[str]
    canonical: Mapped[str]
    body: Mapped[str]  # the Markdown
    html: Mapped[str]
    text: Mapped[str]
    renderer: Mapped[str]  # core.blog.rendering.RENDERER of that time
    words: Mapped[str] = mapped_column(TSVECTOR, deferred=True, deferred_raiseload=True)  # for PostgreSQL alone
    listed: Mapped[bool]
    published_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class BlogStamp(Base):
    """One row. Its number grows with whatever changes a public page, so that kept pages know that they are old."""

    __tablename__ = "blog_stamps"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    stamp: Mapped[int] = mapped_column(BigInteger, server_default="0")


class PostReading(Base):
    """How many readers a post had on a day (UTC)."""

    __tablename__ = "post_readings"

    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    readers: Mapped[int] = mapped_column(server_default="0")


class PostReader(Base):
    """Who was counted on a day: a keyed hash that tells nobody, not us either, who it is. Lives until the next day."""

    __tablename__ = "post_readers"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True)
    reader: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class PostLike(Base):
    __tablename__ = "post_likes"
    __table_args__ = (Index("ix_post_likes_account_id", "account_id"),)

    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CommentState(StrEnum):
    WAITING = "waiting"
    SHOWN = "shown"
    REFUSED = "refused"


class PostComment(Base):
    """What a reader wrote below a post; shown once an admin has read it."""

    __tablename__ = "post_comments"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'shown', 'refused')", name="state"),
        CheckConstraint("(state = 'waiting') = (decided_at is null)", name="decided_once"),
        Index("ix_post_comments_post_id_id", "post_id", "id"),
        Index("ix_post_comments_account_id", "account_id"),
        Index("ix_post_comments_waiting", "id", postgresql_where=text("state = 'waiting'")),
        Index("ix_post_comments_refused", "decided_at", postgresql_where=text("state = 'refused'")),  # the purge's
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    post_id: Mapped[UUID] = mapped_column(ForeignKey("posts.id", ondelete="CASCADE"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    source: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=CommentState.WAITING)
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
