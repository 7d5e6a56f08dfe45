"""The blog: posts with all their revisions, what of them is public, and what readers do with it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blog_stamps",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blog_stamps")),
    )
    op.create_table(
        "posts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("state", sa.String(), server_default="draft", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(state = 'scheduled') = (scheduled_at is not null)", name=op.f("ck_posts_scheduled_has_time")
        ),
        sa.CheckConstraint(
            "state in ('draft', 'review', 'scheduled', 'published', 'unlisted', 'archived')",
            name=op.f("ck_posts_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
    )
    op.create_table(
        "post_comments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("(state = 'waiting') = (decided_at is null)", name=op.f("ck_post_comments_decided_once")),
        sa.CheckConstraint("state in ('waiting', 'shown', 'refused')", name=op.f("ck_post_comments_state")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_post_comments_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["accounts.id"], name=op.f("fk_post_comments_decided_by_accounts"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_comments_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_comments")),
    )
    op.create_index("ix_post_comments_account_id", "post_comments", ["account_id"], unique=False)
    op.create_index("ix_post_comments_post_id_id", "post_comments", ["post_id", "id"], unique=False)
    op.create_index(
        "ix_post_comments_waiting", "post_comments", ["id"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "post_likes",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_post_likes_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_likes_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("post_id", "account_id", name=op.f("pk_post_likes")),
    )
    op.create_index("ix_post_likes_account_id", "post_likes", ["account_id"], unique=False)
    op.create_table(
        "post_pages",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("author_slug", sa.String(), nullable=False),
        sa.Column("cover", sa.String(), nullable=False),
        sa.Column("cover_alt", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("canonical", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("html", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("renderer", sa.String(), nullable=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_pages_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("post_id", name=op.f("pk_post_pages")),
        sa.UniqueConstraint("slug", name=op.f("uq_post_pages_slug")),
    )
    op.create_index("ix_post_pages_published_at", "post_pages", ["published_at"], unique=False)
    op.create_index("ix_post_pages_tags", "post_pages", ["tags"], unique=False, postgresql_using="gin")
    op.create_index("ix_post_pages_words", "post_pages", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "post_readers",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("reader", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_readers_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("day", "post_id", "reader", name=op.f("pk_post_readers")),
    )
    op.create_table(
        "post_readings",
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("readers", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_readings_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("post_id", "day", name=op.f("pk_post_readings")),
    )
    op.create_table(
        "post_revisions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["made_by"], ["accounts.id"], name=op.f("fk_post_revisions_made_by_accounts"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_revisions_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_revisions")),
    )
    op.create_index("uq_post_revisions_post_id_number", "post_revisions", ["post_id", "number"], unique=True)
    op.create_table(
        "post_slugs",
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["post_id"], ["posts.id"], name=op.f("fk_post_slugs_post_id_posts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_post_slugs")),
    )
    op.create_index("ix_post_slugs_post_id", "post_slugs", ["post_id"], unique=False)
    op.execute("insert into blog_stamps (id) values (1)")


def downgrade() -> None:
    op.drop_index("ix_post_slugs_post_id", table_name="post_slugs")
    op.drop_table("post_slugs")
    op.drop_index("uq_post_revisions_post_id_number", table_name="post_revisions")
    op.drop_table("post_revisions")
    op.drop_table("post_readings")
    op.drop_table("post_readers")
    op.drop_index("ix_post_pages_words", table_name="post_pages", postgresql_using="gin")
    op.drop_index("ix_post_pages_tags", table_name="post_pages", postgresql_using="gin")
    op.drop_index("ix_post_pages_published_at", table_name="post_pages")
    op.drop_table("post_pages")
    op.drop_index("ix_post_likes_account_id", table_name="post_likes")
    op.drop_table("post_likes")
    op.drop_index("ix_post_comments_waiting", table_name="post_comments", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_index("ix_post_comments_post_id_id", table_name="post_comments")
    op.drop_index("ix_post_comments_account_id", table_name="post_comments")
    op.drop_table("post_comments")
    op.drop_table("posts")
    op.drop_table("blog_stamps")
