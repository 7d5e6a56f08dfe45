"""Pictures: what was uploaded, its blocks, its files, and who shows it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "media",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), server_default="uploading", nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("colour", sa.String(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state in ('uploading', 'processing', 'ready', 'refused')", name=op.f("ck_media_state")),
        sa.CheckConstraint("(state = 'ready') = (width is not null)", name=op.f("ck_media_ready_has_width")),
        sa.CheckConstraint("(state = 'refused') = (reason is not null)", name=op.f("ck_media_refused_has_reason")),
        sa.CheckConstraint("size > 0", name=op.f("ck_media_has_size")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_media_account_id_accounts"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_media")),
    )
    op.create_index("ix_media_account_id_state", "media", ["account_id", "state"])
    op.create_table(
        "media_blocks",
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["media_id"], ["media.id"], name=op.f("fk_media_blocks_media_id_media"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("media_id", "number", name=op.f("pk_media_blocks")),
    )
    op.create_table(
        "media_files",
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["media_id"], ["media.id"], name=op.f("fk_media_files_media_id_media"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("media_id", "name", name=op.f("pk_media_files")),
    )
    op.create_index(op.f("ix_media_files_name"), "media_files", ["name"])
    op.create_table(
        "media_uses",
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("used_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["media_id"], ["media.id"], name=op.f("fk_media_uses_media_id_media")),
        sa.PrimaryKeyConstraint("media_id", "used_by", name=op.f("pk_media_uses")),
    )
    op.create_index(op.f("ix_media_uses_used_by"), "media_uses", ["used_by"])


def downgrade() -> None:
    op.drop_table("media_uses")
    op.drop_table("media_files")
    op.drop_table("media_blocks")
    op.drop_table("media")
