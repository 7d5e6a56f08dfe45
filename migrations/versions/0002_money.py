"""The ledger with its holds, purchases, and Stripe's events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ENTRIES_NEVER_CHANGE = (
    """
    create function credit_entries_never_change() returns trigger language plpgsql as $$
    begin
        raise exception 'credit_entries is append-only: correct by a new entry';
    end $$
    """,
    """
    create trigger never_change before update or delete on credit_entries
        for each row execute function credit_entries_never_change()
    """,
    """
    create trigger never_truncate before truncate on credit_entries
        for each statement execute function credit_entries_never_change()
    """,
)


def upgrade() -> None:
    op.create_table(
        "credit_accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("balance_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("balance_mc >= 0", name=op.f("ck_credit_accounts_never_below_zero")),
        sa.CheckConstraint("held_mc between 0 and balance_mc", name=op.f("ck_credit_accounts_holds_are_covered")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_credit_accounts_account_id_accounts")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_credit_accounts")),
    )
    op.create_table(
        "credit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.Column("balance_after_mc", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("amount_mc <> 0", name=op.f("ck_credit_entries_not_nothing")),
        sa.CheckConstraint("balance_after_mc >= 0", name=op.f("ck_credit_entries_never_below_zero")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.account_id"], name=op.f("fk_credit_entries_account_id_credit_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_entries")),
        sa.UniqueConstraint("source", name=op.f("uq_credit_entries_source")),
    )
    op.create_index("ix_credit_entries_account_id_id", "credit_entries", ["account_id", "id"], unique=False)
    op.create_table(
        "credit_holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), server_default="held", nullable=False),
        sa.Column("settled_mc", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'held') = (resolved_at is null)", name=op.f("ck_credit_holds_resolved_once")),
        sa.CheckConstraint(
            "(state = 'settled') = (settled_mc is not null)", name=op.f("ck_credit_holds_settled_has_amount")
        ),
        sa.CheckConstraint("state in ('held', 'settled', 'released')", name=op.f("ck_credit_holds_state")),
        sa.CheckConstraint("amount_mc > 0", name=op.f("ck_credit_holds_holds_something")),
        sa.CheckConstraint("settled_mc between 0 and amount_mc", name=op.f("ck_credit_holds_settles_within")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.account_id"], name=op.f("fk_credit_holds_account_id_credit_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_holds")),
        sa.UniqueConstraint("source", name=op.f("uq_credit_holds_source")),
    )
    op.create_index(
        "ix_credit_holds_open", "credit_holds", ["expires_at"], unique=False, postgresql_where=sa.text("state = 'held'")
    )
    op.create_table(
        "purchases",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_key", sa.String(), nullable=False),
        sa.Column("bundle", sa.String(), nullable=False),
        sa.Column("credits_mc", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), server_default="open", nullable=False),
        sa.Column("stripe_session_id", sa.String(), nullable=True),
        sa.Column("stripe_payment_intent_id", sa.String(), nullable=True),
        sa.Column("checkout_url", sa.String(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'paid') = (paid_at is not null)", name=op.f("ck_purchases_paid_has_date")),
        sa.CheckConstraint("state in ('open', 'paid', 'expired', 'failed')", name=op.f("ck_purchases_state")),
        sa.CheckConstraint("amount_minor > 0 and credits_mc > 0", name=op.f("ck_purchases_sells_something")),
        sa.CheckConstraint("currency = lower(currency) and length(currency) = 3", name=op.f("ck_purchases_currency")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_purchases_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchases")),
        sa.UniqueConstraint("account_id", "attempt_key", name=op.f("uq_purchases_account_id")),
        sa.UniqueConstraint("stripe_payment_intent_id", name=op.f("uq_purchases_stripe_payment_intent_id")),
        sa.UniqueConstraint("stripe_session_id", name=op.f("uq_purchases_stripe_session_id")),
    )
    op.create_index("ix_purchases_account_id_id", "purchases", ["account_id", "id"], unique=False)
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_events")),
    )

    for statement in ENTRIES_NEVER_CHANGE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("stripe_events")
    op.drop_table("purchases")
    op.drop_table("credit_holds")
    op.drop_table("credit_entries")
    op.drop_table("credit_accounts")
    op.execute("drop function credit_entries_never_change")
