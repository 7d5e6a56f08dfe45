"""Credits come in lots, and the moves of the ledger are functions: each lot knows what was spent, held, taken back."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOVES = Path(__file__).parent.parent / "sql" / "0005_credits.sql"
FUNCTIONS = (
    "credits_take(uuid, bigint, text, text)",
    "credits_reverse_to(text, bigint, text)",
    "credits_resolve(uuid, bigint)",
    "credits_hold(uuid, uuid, bigint, bigint, text, interval)",
    "credits_expire(uuid)",
    "credits_grant(uuid, bigint, text, text, timestamptz)",
    "credits_cover(uuid, bigint)",
)

# Accounts of before had no lots: their grants become them, and what was spent and is held takes them in order.
LOTS_OF_BEFORE = """
do $$
declare
    account credit_accounts;
    lot record;
    hold record;
    unpinned bigint;
    part bigint;
begin
    insert into credit_lots (account_id, source, kind, amount_mc, left_mc, created_at)
    select account_id, source, kind, amount_mc, amount_mc, created_at
    from credit_entries where amount_mc > 0 order by id;
    for account in select * from credit_accounts loop
        unpinned := -(
            select coalesce(sum(amount_mc), 0) from credit_entries
            where account_id = account.account_id and amount_mc < 0
        );
        for lot in select id, left_mc from credit_lots where account_id = account.account_id order by id loop
            part := least(lot.left_mc, unpinned);
            update credit_lots set left_mc = left_mc - part, spent_mc = part where id = lot.id;
            unpinned := unpinned - part;
        end loop;
        for hold in
            select id, amount_mc from credit_holds where account_id = account.account_id and state = 'held' order by id
        loop
            unpinned := hold.amount_mc;
            for lot in
                select id, left_mc from credit_lots where account_id = account.account_id and left_mc > 0 order by id
            loop
                exit when unpinned = 0;
                part := least(lot.left_mc, unpinned);
                update credit_lots set left_mc = left_mc - part, held_mc = held_mc + part where id = lot.id;
                insert into credit_pins (hold_id, lot_id, amount_mc) values (hold.id, lot.id, part);
                unpinned := unpinned - part;
            end loop;
        end loop;
    end loop;
end $$
"""

ENTRY_KINDS = (
    "kind in ('purchase', 'grant', 'promotion', 'usage', 'refund', 'dispute', 'restored', 'expiry', 'correction')"
)


def upgrade() -> None:
    op.create_table(
        "credit_lots",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.Column("left_mc", sa.BigInteger(), nullable=False),
        sa.Column("held_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reversed_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expired_mc", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("moves", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("amount_mc > 0", name=op.f("ck_credit_lots_gives_something")),
        sa.CheckConstraint(
            "left_mc >= 0 and held_mc >= 0 and spent_mc >= 0 and reversed_mc >= 0 and expired_mc >= 0",
            name=op.f("ck_credit_lots_parts_never_below_zero"),
        ),
        sa.CheckConstraint(
            "amount_mc = left_mc + held_mc + spent_mc + reversed_mc + expired_mc",
            name=op.f("ck_credit_lots_parts_are_the_whole"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.account_id"], name=op.f("fk_credit_lots_account_id_credit_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_lots")),
        sa.UniqueConstraint("source", name=op.f("uq_credit_lots_source")),
    )
    op.create_index(
        "ix_credit_lots_left",
        "credit_lots",
        ["account_id", "expires_at", "id"],
        postgresql_where=sa.text("left_mc > 0"),
    )
    op.create_index(
        "ix_credit_lots_to_expire",
        "credit_lots",
        ["expires_at"],
        postgresql_where=sa.text("left_mc > 0 and expires_at is not null"),
    )
    op.create_table(
        "credit_pins",
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("lot_id", sa.Uuid(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_mc > 0", name=op.f("ck_credit_pins_pins_something")),
        sa.ForeignKeyConstraint(["hold_id"], ["credit_holds.id"], name=op.f("fk_credit_pins_hold_id_credit_holds")),
        sa.ForeignKeyConstraint(["lot_id"], ["credit_lots.id"], name=op.f("fk_credit_pins_lot_id_credit_lots")),
        sa.PrimaryKeyConstraint("hold_id", "lot_id", name=op.f("pk_credit_pins")),
    )
    op.create_index("ix_credit_pins_lot_id", "credit_pins", ["lot_id"])
    op.create_table(
        "credit_adjustments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("attempt_key", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount_mc <> 0", name=op.f("ck_credit_adjustments_not_nothing")),
        sa.CheckConstraint("length(trim(reason)) > 0", name=op.f("ck_credit_adjustments_has_reason")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_credit_adjustments_account_id_accounts")
        ),
        sa.ForeignKeyConstraint(["made_by"], ["accounts.id"], name=op.f("fk_credit_adjustments_made_by_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_adjustments")),
        sa.UniqueConstraint("made_by", "attempt_key", name=op.f("uq_credit_adjustments_made_by")),
    )
    op.create_index("ix_credit_adjustments_account_id_id", "credit_adjustments", ["account_id", "id"])
    op.add_column("credit_accounts", sa.Column("owed_mc", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("credit_holds", sa.Column("uncovered_mc", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_constraint(op.f("ck_credit_accounts_never_below_zero"), "credit_accounts")
    op.drop_constraint(op.f("ck_credit_accounts_holds_are_covered"), "credit_accounts")
    op.drop_constraint(op.f("ck_credit_entries_never_below_zero"), "credit_entries")
    op.create_check_constraint(
        op.f("ck_credit_accounts_never_below_zero"),
        "credit_accounts",
        "held_mc >= 0 and owed_mc >= 0 and balance_mc - held_mc + owed_mc >= 0",
    )
    op.create_check_constraint(
        op.f("ck_credit_accounts_who_owes_has_nothing_free"),
        "credit_accounts",
        "owed_mc = 0 or balance_mc - held_mc + owed_mc = 0",
    )
    op.create_check_constraint(
        op.f("ck_credit_holds_uncovered_within"), "credit_holds", "uncovered_mc between 0 and amount_mc"
    )
    op.create_check_constraint(op.f("ck_credit_entries_kind"), "credit_entries", ENTRY_KINDS)
    op.create_index(
        "ix_credit_holds_account_id_open", "credit_holds", ["account_id"], postgresql_where=sa.text("state = 'held'")
    )
    op.execute(LOTS_OF_BEFORE)
    for function in MOVES.read_text().split("\ncreate function ")[1:]:
        op.execute(sa.text("create function " + function.replace(":", "\\:")))


def downgrade() -> None:
    for function in FUNCTIONS:
        op.execute(f"drop function {function}")
    op.drop_index("ix_credit_holds_account_id_open", "credit_holds")
    op.drop_constraint(op.f("ck_credit_entries_kind"), "credit_entries")
    op.drop_constraint(op.f("ck_credit_accounts_who_owes_has_nothing_free"), "credit_accounts")
    op.drop_constraint(op.f("ck_credit_accounts_never_below_zero"), "credit_accounts")
    op.create_check_constraint(op.f("ck_credit_entries_never_below_zero"), "credit_entries", "balance_after_mc >= 0")
    op.create_check_constraint(op.f("ck_credit_accounts_never_below_zero"), "credit_accounts", "balance_mc >= 0")
    op.create_check_constraint(
        op.f("ck_credit_accounts_holds_are_covered"), "credit_accounts", "held_mc between 0 and balance_mc"
    )
    op.drop_column("credit_holds", "uncovered_mc")
    op.drop_column("credit_accounts", "owed_mc")
    op.drop_table("credit_adjustments")
    op.drop_table("credit_pins")
    op.drop_table("credit_lots")
