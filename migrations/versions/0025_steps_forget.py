"""Steps of requests forget what an erased person wrote; that they asked, and what was answered, stays."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

NEVER_CHANGE = """
    create or replace function privacy_request_steps_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if not exists (select from privacy_requests where id = old.request_id) then
                return old;
            end if;
        end if;
        raise exception 'privacy_request_steps is append-only';
    end $$
"""
MAY_FORGET = """
    create or replace function privacy_request_steps_never_change() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            if not exists (select from privacy_requests where id = old.request_id) then
                return old;
            end if;
        elsif tg_op = 'UPDATE' then
            if to_jsonb(new) - 'words' = to_jsonb(old) - 'words' and new.words in (old.words, '')
                and exists (
                    select from privacy_requests request join accounts on accounts.id = request.account_id
                    where request.id = old.request_id and erased_at is not null
                )
            then
                return new;
            end if;
        end if;
        raise exception 'privacy_request_steps is append-only';
    end $$
"""


def upgrade() -> None:
    op.execute(MAY_FORGET)


def downgrade() -> None:
    op.execute(NEVER_CHANGE)
