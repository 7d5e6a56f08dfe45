"""Notices, the inbox on our pages; each change of one is told to the web processes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TELL = (
    """
    create function notices_tell() returns trigger language plpgsql as $$
    begin
        perform pg_notify('notices', coalesce(new.account_id, old.account_id)::text);
        return null;
    end $$
    """,
    """
    create trigger tell after insert or delete or update of read_at on notices
        for each row execute function notices_tell()
    """,
)


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_notices_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("key", name=op.f("uq_notices_key")),
    )
    op.create_index("ix_notices_account_id_id", "notices", ["account_id", "id"])
    op.create_index("ix_notices_unread", "notices", ["account_id"], postgresql_where=sa.text("read_at is null"))
    for statement in TELL:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("notices")
    op.execute("drop function notices_tell")
