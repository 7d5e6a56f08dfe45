"""Refunds, disputes, receipts without gaps, and the reports of reconciliations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "receipt_counter",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("one", name=op.f("ck_receipt_counter_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_receipt_counter")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("looked_at", sa.Integer(), nullable=False),
        sa.Column("healed", sa.Integer(), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )
    op.create_index("ix_reconciliations_started_at", "reconciliations", ["started_at"], unique=False)
    op.create_table(
        "disputes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_disputes_never_below_zero")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_disputes_purchase_id_purchases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
    )
    op.create_index("ix_disputes_purchase_id", "disputes", ["purchase_id"], unique=False)
    op.create_table(
        "receipts",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("buyer_name", sa.String(), nullable=False),
        sa.Column("buyer_email", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_receipts_counts_from_one")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_receipts_purchase_id_purchases")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_receipts")),
        sa.UniqueConstraint("purchase_id", name=op.f("uq_receipts_purchase_id")),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("purchase_id", sa.Uuid(), nullable=False),
        sa.Column("stripe_refund_id", sa.String(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("origin in ('buyer', 'stripe')", name=op.f("ck_refunds_origin")),
        sa.CheckConstraint(
            "state in ('requested', 'pending', 'succeeded', 'failed', 'canceled')", name=op.f("ck_refunds_state")
        ),
        sa.CheckConstraint(
            "stripe_refund_id is not null or origin = 'buyer'", name=op.f("ck_refunds_known_to_someone")
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_gives_something")),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("fk_refunds_purchase_id_purchases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("stripe_refund_id", name=op.f("uq_refunds_stripe_refund_id")),
    )
    op.create_index("ix_refunds_purchase_id", "refunds", ["purchase_id"], unique=False)
    op.add_column("purchases", sa.Column("taken_up", sa.Integer(), server_default="0", nullable=False))
    op.add_column("purchases", sa.Column("reversed_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.create_check_constraint(
        op.f("ck_purchases_reversed_within"), "purchases", "reversed_minor between 0 and amount_minor"
    )
    op.execute("insert into receipt_counter (last) values (0)")


def downgrade() -> None:
    op.drop_column("purchases", "reversed_minor")
    op.drop_column("purchases", "taken_up")
    op.drop_index("ix_refunds_purchase_id", table_name="refunds")
    op.drop_table("refunds")
    op.drop_table("receipts")
    op.drop_index("ix_disputes_purchase_id", table_name="disputes")
    op.drop_table("disputes")
    op.drop_index("ix_reconciliations_started_at", table_name="reconciliations")
    op.drop_table("reconciliations")
    op.drop_table("receipt_counter")
