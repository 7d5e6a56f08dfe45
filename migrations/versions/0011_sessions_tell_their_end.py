"""Sessions tell when they end or change their id, and end with their account's standing."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TELL = (
    """
    create function web_sessions_tell_end() returns trigger language plpgsql as $$
    begin
        perform pg_notify('session_ended', old.id::text);
        return null;
    end $$
    """,
    """
    create trigger tell_end after delete or update of token_hash on web_sessions
        for each row execute function web_sessions_tell_end()
    """,
    """
    create function accounts_end_sessions() returns trigger language plpgsql as $$
    begin
        delete from web_sessions where account_id = new.id;
        return null;
    end $$
    """,
    """
    create trigger end_sessions after update of disabled_at, role on accounts for each row
        when ((new.disabled_at is not null and old.disabled_at is null) or new.role <> old.role)
        execute function accounts_end_sessions()
    """,
)


def upgrade() -> None:
    for statement in TELL:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop trigger end_sessions on accounts")
    op.execute("drop function accounts_end_sessions")
    op.execute("drop trigger tell_end on web_sessions")
    op.execute("drop function web_sessions_tell_end")
