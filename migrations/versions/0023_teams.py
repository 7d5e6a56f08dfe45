"""Teams, who is in them and who is asked, and the log of what their owners have looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

AT = sa.DateTime(timezone=True)

LOOKS_NEVER_CHANGE = (
    """
    create function team_looks_never_change() returns trigger language plpgsql as $$
    begin
        raise exception 'team_looks is append-only: a row goes at its end, or with its account';
    end $$
    """,
    """
    create trigger never_change before update on team_looks
        for each row execute function team_looks_never_change()
    """,
)


def upgrade() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", AT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("joined_at", AT, nullable=False),
        sa.Column("content_since", AT, nullable=True),
        sa.CheckConstraint("role in ('owner', 'member')", name=op.f("ck_team_members_role")),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_team_members_team_id_teams"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_team_members_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("team_id", "account_id", name=op.f("pk_team_members")),
    )
    op.create_index(op.f("ix_team_members_account_id"), "team_members", ["account_id"])
    op.create_table(
        "team_invitations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", AT, nullable=False),
        sa.Column("expires_at", AT, nullable=False),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name=op.f("fk_team_invitations_team_id_teams"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["accounts.id"], name=op.f("fk_team_invitations_invited_by_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_invitations")),
        sa.UniqueConstraint("team_id", "email_key", name=op.f("uq_team_invitations_team_id")),
    )
    op.create_index(op.f("ix_team_invitations_email_key"), "team_invitations", ["email_key"])
    op.create_table(
        "team_looks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("viewer_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("team_name", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("consultation_id", sa.Uuid(), nullable=True),
        sa.Column("at", AT, nullable=False),
        sa.CheckConstraint("what in ('usage', 'list', 'consultation')", name=op.f("ck_team_looks_what")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_team_looks_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_looks")),
    )
    op.create_index("ix_team_looks_account_id_id", "team_looks", ["account_id", "id"])
    op.create_index("ix_team_looks_at", "team_looks", ["at"])
    for statement in LOOKS_NEVER_CHANGE:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("team_looks")
    op.execute("drop function team_looks_never_change")
    op.drop_table("team_invitations")
    op.drop_table("team_members")
    op.drop_table("teams")
