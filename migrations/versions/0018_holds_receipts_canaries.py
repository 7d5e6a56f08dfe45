"""Legal holds and the words that they keep, receipts of the purge, canaries."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("placed_by", sa.Uuid(), nullable=True),
        sa.Column("placed_at", AT, nullable=False),
        sa.Column("lifted_by", sa.Uuid(), nullable=True),
        sa.Column("lifted_at", AT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_index("ix_legal_holds_open", "legal_holds", ["account_id"], postgresql_where=sa.text("lifted_at is null"))
    op.create_index("ix_legal_holds_lifted_at", "legal_holds", ["lifted_at"])
    op.create_table(
        "held_texts",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("said_on", sa.Date(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_held_texts")),
    )
    op.create_index("ix_held_texts_account_id", "held_texts", ["account_id"])
    op.create_index("ix_held_texts_said_on", "held_texts", ["said_on"])
    op.create_table(
        "purge_receipts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("data_class", sa.String(), nullable=False),
        sa.Column("gone", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("begun_at", AT, nullable=False),
        sa.Column("ended_at", AT, nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purge_receipts")),
        sa.UniqueConstraint("hash", name=op.f("uq_purge_receipts_hash")),
        sa.UniqueConstraint("previous", name=op.f("uq_purge_receipts_previous")),
    )
    op.create_index("ix_purge_receipts_ended_at", "purge_receipts", ["ended_at"])
    op.create_table(
        "canaries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("planted_at", AT, server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", AT, nullable=False),
        sa.Column("gone_at", AT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
    )
    op.create_index("ix_canaries_waiting", "canaries", ["due_at"], postgresql_where=sa.text("gone_at is null"))
    op.create_index("ix_canaries_gone_at", "canaries", ["gone_at"])


def downgrade() -> None:
    for table in ("canaries", "purge_receipts", "held_texts", "legal_holds"):
        op.drop_table(table)
