"""Mails say where they are, in whose language, how often they were tried anew; and who wants which."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATES = "'queued', 'sending', 'sent', 'deferred', 'bounced', 'suppressed', 'failed'"
BEFORE = "'queued', 'sending', 'sent', 'deferred', 'failed'"


def _states(words: str) -> None:
    op.drop_constraint(op.f("ck_mail_deliveries_state"), "mail_deliveries")
    op.create_check_constraint(op.f("ck_mail_deliveries_state"), "mail_deliveries", f"state in ({words})")


def upgrade() -> None:
    _states(STATES)
    op.add_column("mail_deliveries", sa.Column("language", sa.String(), server_default="en", nullable=False))
    op.add_column("mail_deliveries", sa.Column("resends", sa.SmallInteger(), server_default="0", nullable=False))
    op.create_index("ix_mail_deliveries_recipient_created_at", "mail_deliveries", ["recipient", "created_at"])
    unsent = sa.text("state <> 'sent'")
    op.create_index("ix_mail_deliveries_state", "mail_deliveries", ["state", "id"], postgresql_where=unsent)
    op.create_table(
        "mail_consents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("words", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("topic in ('announcements', 'low_balance')", name=op.f("ck_mail_consents_topic")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_mail_consents_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_consents")),
    )
    op.create_index("ix_mail_consents_topic_account_id_id", "mail_consents", ["topic", "account_id", "id"])


def downgrade() -> None:
    op.drop_table("mail_consents")
    op.drop_index("ix_mail_deliveries_state", "mail_deliveries")
    op.drop_index("ix_mail_deliveries_recipient_created_at", "mail_deliveries")
    op.drop_column("mail_deliveries", "resends")
    op.drop_column("mail_deliveries", "language")
    op.execute("update mail_deliveries set state = 'failed' where state in ('bounced', 'suppressed')")
    _states(BEFORE)
