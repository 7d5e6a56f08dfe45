"""Copies of a person's data, and who waits for one."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), server_default="building", nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("blob", sa.String(), nullable=True),
        sa.Column("steps", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("steps_done", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files", sa.Integer(), server_default="0", nullable=False),
        sa.Column("missing", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('building', 'ready', 'failed', 'replaced')", name=op.f("ck_exports_state")),
        sa.CheckConstraint("(state = 'building') = (ended_at is null)", name=op.f("ck_exports_ended_has_date")),
        sa.CheckConstraint("state <> 'ready' or blob is not null", name=op.f("ck_exports_ready_has_blob")),
        sa.CheckConstraint("(state = 'failed') = (reason is not null)", name=op.f("ck_exports_failed_has_reason")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_exports_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index(
        "uq_exports_building",
        "exports",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("state = 'building'"),
    )
    op.create_index("ix_exports_account_id_id", "exports", ["account_id", "id"])
    op.create_index("ix_exports_ended_at", "exports", ["ended_at"])


def downgrade() -> None:
    op.drop_table("exports")
