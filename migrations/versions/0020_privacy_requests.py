"""Requests under data protection law, with their steps; an account whose data is only kept."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# A step goes only with its request, which the purge deletes 24 months after its end.
STEPS_NEVER_CHANGE = (
    """
    create function privacy_request_steps_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if not exists (select from privacy_requests where id = old.request_id) then
                return old;
            end if;
        end if;
        raise exception 'privacy_request_steps is append-only';
    end $$
    """,
    """
    create trigger never_change before update or delete on privacy_request_steps
        for each row execute function privacy_request_steps_never_change()
    """,
    """
    create trigger never_truncate before truncate on privacy_request_steps
        for each statement execute function privacy_request_steps_never_change()
    """,
)
UNFINISHED = sa.text("state in ('open', 'waiting_for_identity', 'working')")


def upgrade() -> None:
    op.add_column("accounts", sa.Column("restricted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("restricted_until", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "privacy_requests",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sources", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("sender", sa.String(), nullable=True),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledge_by", sa.Date(), nullable=False),
        sa.Column("gdpr_due", sa.Date(), nullable=False),
        sa.Column("ccpa_due", sa.Date(), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("extended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("extension_reason", sa.String(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("basis", sa.String(), nullable=True),
        sa.CheckConstraint(
            "kind in ('access', 'portability', 'correction', 'erasure', 'restriction', 'objection', 'opt_out')",
            name=op.f("ck_privacy_requests_kind"),
        ),
        sa.CheckConstraint(
            "state in ('open', 'waiting_for_identity', 'working', 'answered', 'refused', 'withdrawn')",
            name=op.f("ck_privacy_requests_state"),
        ),
        sa.CheckConstraint(
            "(closed_at is null) = (state in ('open', 'waiting_for_identity', 'working'))",
            name=op.f("ck_privacy_requests_closed_has_date"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_requests")),
    )
    op.create_index(
        "uq_privacy_requests_unfinished",
        "privacy_requests",
        ["account_id", "kind"],
        unique=True,
        postgresql_where=UNFINISHED,
    )
    op.create_index("ix_privacy_requests_account_id_id", "privacy_requests", ["account_id", "id"])
    op.create_index("ix_privacy_requests_due", "privacy_requests", ["gdpr_due"], postgresql_where=UNFINISHED)
    op.create_index("ix_privacy_requests_closed_at", "privacy_requests", ["closed_at"])
    op.create_table(
        "privacy_request_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("did", sa.String(), nullable=False),
        sa.Column("manner", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("basis", sa.String(), nullable=True),
        sa.Column("by", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["privacy_requests.id"],
            name=op.f("fk_privacy_request_steps_request_id_privacy_requests"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_request_steps")),
    )
    op.create_index("ix_privacy_request_steps_request_id", "privacy_request_steps", ["request_id"])
    for statement in STEPS_NEVER_CHANGE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("privacy_request_steps")
    op.execute("drop function privacy_request_steps_never_change")
    op.drop_table("privacy_requests")
    op.drop_column("accounts", "restricted_until")
    op.drop_column("accounts", "restricted_at")
