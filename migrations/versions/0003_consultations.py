"""Services, consultations, messages, their words by day, generations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# One table a day, named message_texts_20261124; made ahead by upkeep. The default one catches what no day was made for.
PREPARE_PARTITIONS = """
    create function prepare_message_partitions(first date, last date) returns integer language plpgsql as $$
    declare
        day date := first;
        made integer := 0;
        name text;
    begin
        while day <= last loop
            name := 'message_texts_' || to_char(day, 'YYYYMMDD');
            if to_regclass(name) is null then
                execute format('create table %I partition of message_texts for values from (%L) to (%L)',
                               name, day, day + 1);
                made := made + 1;
            end if;
            day := day + 1;
        end loop;
        return made;
    end $$;
"""


def upgrade() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=False),
        sa.Column("sample_questions", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("input_mc_per_1k", sa.Integer(), nullable=False),
        sa.Column("output_mc_per_1k", sa.Integer(), nullable=False),
        sa.Column("max_output_tokens", sa.Integer(), nullable=False),
        sa.Column("min_output_tokens", sa.Integer(), nullable=False),
        sa.Column("max_question_chars", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "input_mc_per_1k >= 0 and output_mc_per_1k >= 0", name=op.f("ck_services_never_pays_the_buyer")
        ),
        sa.CheckConstraint("max_output_tokens > 0 and min_output_tokens > 0", name=op.f("ck_services_has_caps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sa.UniqueConstraint("slug", "version", name=op.f("uq_services_slug")),
    )
    op.create_index("uq_services_listed_slug", "services", ["slug"], unique=True, postgresql_where=sa.text("listed"))
    op.create_table(
        "consultations",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_consultations_account_id_accounts")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_consultations_service_id_services")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consultations")),
    )
    op.create_index("ix_consultations_account_id_id", "consultations", ["account_id", "id"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("consultation_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("said_on", sa.Date(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('question', 'answer')", name=op.f("ck_messages_role")),
        sa.ForeignKeyConstraint(
            ["consultation_id"], ["consultations.id"], name=op.f("fk_messages_consultation_id_consultations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index("ix_messages_consultation_id_id", "messages", ["consultation_id", "id"], unique=False)
    op.create_table(
        "message_texts",
        sa.Column("said_on", sa.Date(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("said_on", "message_id", name=op.f("pk_message_texts")),
        postgresql_partition_by="RANGE (said_on)",
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("consultation_id", sa.Uuid(), nullable=False),
        sa.Column("question_id", sa.Uuid(), nullable=False),
        sa.Column("answer_id", sa.Uuid(), nullable=True),
        sa.Column("service_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("hold_mc", sa.BigInteger(), nullable=False),
        sa.Column("prompt_cap", sa.Integer(), nullable=False),
        sa.Column("output_cap", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), server_default="waiting", nullable=False),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("usage_estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("cost_mc", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'waiting') = (ended_at is null)", name=op.f("ck_generations_ended_has_date")),
        sa.CheckConstraint(
            "state in ('waiting', 'done', 'stopped', 'filtered', 'failed')", name=op.f("ck_generations_state")
        ),
        sa.CheckConstraint("cost_mc >= 0", name=op.f("ck_generations_never_pays_the_buyer")),
        sa.ForeignKeyConstraint(["answer_id"], ["messages.id"], name=op.f("fk_generations_answer_id_messages")),
        sa.ForeignKeyConstraint(
            ["consultation_id"], ["consultations.id"], name=op.f("fk_generations_consultation_id_consultations")
        ),
        sa.ForeignKeyConstraint(["question_id"], ["messages.id"], name=op.f("fk_generations_question_id_messages")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_generations_service_id_services")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint("answer_id", name=op.f("uq_generations_answer_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_generations_job_id")),
        sa.UniqueConstraint("question_id", name=op.f("uq_generations_question_id")),
    )
    op.create_index("ix_generations_consultation_id", "generations", ["consultation_id"], unique=False)

    op.execute(PREPARE_PARTITIONS)
    op.execute("create table message_texts_default partition of message_texts default")
    op.execute("select prepare_message_partitions(current_date - 1, current_date + 35)")


def downgrade() -> None:
    op.drop_table("generations")
    op.drop_table("message_texts")
    op.drop_table("messages")
    op.drop_table("consultations")
    op.drop_table("services")
    op.execute("drop function prepare_message_partitions")
