"""Which Checkout session or payment an event of Stripe's is about, so that a purchase finds its events."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ABOUT = """
case when body #>> '{data,object,object}' = 'checkout.session' then body #>> '{data,object,id}'
    else body #>> '{data,object,payment_intent}' end
"""


def upgrade() -> None:
    op.add_column("stripe_events", sa.Column("about", sa.String(), sa.Computed(ABOUT, persisted=True)))
    op.create_index("ix_stripe_events_about", "stripe_events", ["about"])


def downgrade() -> None:
    op.drop_index("ix_stripe_events_about", table_name="stripe_events")
    op.drop_column("stripe_events", "about")
