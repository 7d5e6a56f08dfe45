"""The audit log: rows that nothing changes, and nothing deletes within their year."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ENTRIES_NEVER_CHANGE = (
    """
    create function audit_entries_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if old.at < now() - interval '365 days' then
                return old;
            end if;
        end if;
        raise exception 'audit_entries is append-only for 365 days';
    end $$
    """,
    """
    create trigger never_change before update or delete on audit_entries
        for each row execute function audit_entries_never_change()
    """,
    """
    create trigger never_truncate before truncate on audit_entries
        for each statement execute function audit_entries_never_change()
    """,
)


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("user_agent", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("outcome in ('done', 'refused')", name=op.f("ck_audit_entries_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_account_id_id", "audit_entries", ["account_id", "id"])
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    for statement in ENTRIES_NEVER_CHANGE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_entries")
    op.execute("drop function audit_entries_never_change")
