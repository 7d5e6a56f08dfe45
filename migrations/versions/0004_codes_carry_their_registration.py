"""A code carries what its registration asked for, and the browser that asked."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("delete from account_codes")  # they live for 15 minutes; nobody is waiting yet
    op.add_column("account_codes", sa.Column("password_hash", sa.String(), nullable=True))
    op.add_column("account_codes", sa.Column("name", sa.String(), nullable=True))
    op.add_column("account_codes", sa.Column("company", sa.String(), nullable=True))
    op.add_column("account_codes", sa.Column("browser_hash", sa.LargeBinary(), nullable=False))


def downgrade() -> None:
    for column in ("browser_hash", "company", "name", "password_hash"):
        op.drop_column("account_codes", column)
