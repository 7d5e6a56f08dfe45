"""What we publish about data and terms, what each person did with it, what they agreed to; and counts of pages."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("account_codes", sa.Column("policies", sa.String(), nullable=True))
    op.create_table(
        "policy_versions",
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("weight", sa.String(), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reached", sa.Uuid(), nullable=True),
        sa.Column("told", sa.Integer(), server_default="0", nullable=False),
        sa.Column("all_told_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("document in ('privacy', 'terms', 'cookies')", name=op.f("ck_policy_versions_document")),
        sa.CheckConstraint("weight in ('first', 'minor', 'material')", name=op.f("ck_policy_versions_weight")),
        sa.CheckConstraint("number > 0", name=op.f("ck_policy_versions_number")),
        sa.PrimaryKeyConstraint("document", "number", name=op.f("pk_policy_versions")),
    )
    op.create_table(
        "policy_engagements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "what in ('told', 'shown', 'seen', 'accepted', 'declined')", name=op.f("ck_policy_engagements_what")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_policy_engagements_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document", "number"],
            ["policy_versions.document", "policy_versions.number"],
            name="fk_policy_engagements_document_number_policy_versions",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_engagements")),
    )
    op.create_index(
        "ix_policy_engagements_account_id_document", "policy_engagements", ["account_id", "document", "number"]
    )
    op.create_index(
        "uq_policy_engagements_once",
        "policy_engagements",
        ["account_id", "document", "number", "what"],
        unique=True,
        postgresql_where=sa.text("what in ('told', 'shown', 'seen')"),
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("words", sa.SmallInteger(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("gpc", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("purpose in ('analytics')", name=op.f("ck_consents_purpose")),
        sa.CheckConstraint("via in ('panel', 'cookies', 'account', 'signal')", name=op.f("ck_consents_via")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_consents_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_account_id_purpose_id", "consents", ["account_id", "purpose", "id"])
    op.create_table(
        "analytics_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "route", "what", name=op.f("pk_analytics_counts")),
    )


def downgrade() -> None:
    op.drop_table("analytics_counts")
    op.drop_table("consents")
    op.drop_table("policy_engagements")
    op.drop_table("policy_versions")
    op.drop_column("account_codes", "policies")
