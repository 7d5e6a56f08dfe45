"""Erasure: accounts that close and that are erased, the requests for it, and how logs and events forget a person."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# What an entry of the log keeps of its facts once its person is erased: what was done, in words of ours and numbers.
FACTS_STAY = """
    create function audit_facts_without_person(facts jsonb) returns jsonb language sql immutable as $$
        select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(facts)
        where key in ('from', 'to', 'fields', 'factor', 'method', 'left', 'amount_mc', 'link_of')
    $$
"""
# The one change of an entry that is allowed: of an erased account, to leave out from where and with which words.
ENTRIES_MAY_FORGET = """
    create or replace function audit_entries_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if old.at < now() - interval '365 days' then
                return old;
            end if;
        elsif tg_op = 'UPDATE' then
            if (new.id, new.at, new.actor_id, new.account_id, new.action, new.object, new.outcome, new.request_id)
                   is not distinct from
               (old.id, old.at, old.actor_id, old.account_id, old.action, old.object, old.outcome, old.request_id)
               and new.ip in (old.ip, '') and new.user_agent in (old.user_agent, '')
               and new.facts in (old.facts, audit_facts_without_person(old.facts))
               and exists (
                   select from accounts where id in (old.account_id, old.actor_id) and erased_at is not null
               )
            then
                return new;
            end if;
        end if;
        raise exception 'audit_entries is append-only for 365 days';
    end $$
"""
ENTRIES_NEVER_CHANGE = """
    create or replace function audit_entries_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if old.at < now() - interval '365 days' then
                return old;
            end if;
        end if;
        raise exception 'audit_entries is append-only for 365 days';
    end $$
"""
# Of Stripe's event what the books are checked by: which payment, how much, what became of it.
EVENT_WITHOUT_PAYER = """
    create function stripe_event_without_payer(body jsonb) returns jsonb language sql immutable as $$
        select jsonb_build_object(
            'data', jsonb_build_object('object', (
                select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(body #> '{data,object}')
                where key in (
                    'id', 'object', 'amount', 'amount_total', 'amount_refunded', 'currency', 'status', 'created',
                    'payment_status', 'payment_intent', 'charge', 'reason', 'livemode', 'mode', 'client_reference_id'
                ) and jsonb_typeof(value) in ('string', 'number', 'boolean', 'null')
            ))
        ) || (
            select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(body)
            where key in ('id', 'object', 'type', 'created', 'livemode', 'api_version')
        )
    $$
"""


def upgrade() -> None:
    op.add_column("accounts", sa.Column("closing_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("accounts", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_accounts_erased_is_shut"), "accounts", "erased_at is null or disabled_at is not null"
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(), server_default="grace", nullable=False),
        sa.Column("waits_for", sa.String(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("link_hash", sa.LargeBinary(), nullable=True),
        sa.Column("proof", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("state in ('grace', 'running', 'done', 'undone')", name=op.f("ck_erasures_state")),
        sa.CheckConstraint(
            "(state in ('done', 'undone')) = (ended_at is not null)", name=op.f("ck_erasures_ended_has_date")
        ),
        sa.CheckConstraint("(state = 'done') = (proof is not null)", name=op.f("ck_erasures_done_has_proof")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(
        "uq_erasures_open",
        "erasures",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("state in ('grace', 'running')"),
    )
    op.create_index("ix_erasures_account_id", "erasures", ["account_id"])
    op.create_index("uq_erasures_link_hash", "erasures", ["link_hash"], unique=True)
    for statement in (FACTS_STAY, ENTRIES_MAY_FORGET, EVENT_WITHOUT_PAYER):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop function stripe_event_without_payer")
    op.execute(ENTRIES_NEVER_CHANGE)
    op.execute("drop function audit_facts_without_person")
    op.drop_table("erasures")
    op.drop_constraint(op.f("ck_accounts_erased_is_shut"), "accounts")
    op.drop_column("accounts", "erased_at")
    op.drop_column("accounts", "closing_at")
