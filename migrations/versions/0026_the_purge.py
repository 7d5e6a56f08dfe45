"""What the purge needs: indexes on what it counts from, and leave to close the books of who was erased long ago."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

BOOKS_ARE_OVER = """
    create function books_are_over(account uuid) returns boolean language sql stable as $$
        select exists (
            select from accounts where id = account
                and date_trunc('year', erased_at at time zone 'utc') + interval '11 years' <= now() at time zone 'utc'
        )
    $$
"""
ENTRIES_GO_WITH_THE_BOOKS = """
    create or replace function credit_entries_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if books_are_over(old.account_id) then
                return old;
            end if;
        end if;
        raise exception 'credit_entries is append-only: correct by a new entry';
    end $$
"""
ENTRIES_NEVER_CHANGE = """
    create or replace function credit_entries_never_change() returns trigger language plpgsql as $$
    begin
        raise exception 'credit_entries is append-only: correct by a new entry';
    end $$
"""
INDEXES = (
    ("ix_accounts_unproven", "accounts", "created_at", "email_verified_at is null"),
    ("ix_accounts_erased_at", "accounts", "erased_at", "erased_at is not null"),
    ("ix_mail_deliveries_created_at", "mail_deliveries", "created_at", None),
    ("ix_mail_deliveries_with_facts", "mail_deliveries", "created_at", "facts <> '{\"wiped\": true}'"),
    ("ix_notices_created_at", "notices", "created_at", None),
    ("ix_post_comments_refused", "post_comments", "decided_at", "state = 'refused'"),
    ("ix_jobs_finished_at", "jobs", "finished_at", "finished_at is not null"),
    ("ix_stripe_events_received_at", "stripe_events", "received_at", None),
    ("ix_stripe_events_with_payer", "stripe_events", "received_at", "payer_gone_at is null"),
)


def upgrade() -> None:
    op.add_column("stripe_events", sa.Column("payer_gone_at", sa.DateTime(timezone=True), nullable=True))
    for name, table, column, only in INDEXES:
        op.create_index(name, table, [column], postgresql_where=sa.text(only.replace(":", "\\:")) if only else None)
    op.execute(BOOKS_ARE_OVER)
    op.execute(ENTRIES_GO_WITH_THE_BOOKS)


def downgrade() -> None:
    op.execute(ENTRIES_NEVER_CHANGE)
    op.execute("drop function books_are_over")
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    op.drop_column("stripe_events", "payer_gone_at")
