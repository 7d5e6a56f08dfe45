"""Tables of money: kept as the books are, under an account's number, when its name is gone."""

from datetime import timedelta

from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table

MINE = "account_id = :account"
OF_PURCHASE = "purchase_id in (select id from purchases where account_id = :account)"
# The others go when the books of their account are closed.
OF_NO_PURCHASE = "not exists (select from purchases where about in (stripe_session_id, stripe_payment_intent_id))"
BOOKS = "Books are kept for ten years, as tax law asks; they no longer say who you were."

MONEY = (
    Table(
        "credit_accounts",
        DataClass.BILLING,
        owner=MINE,
        given="balance_mc held_mc owed_mc",
        inner="account_id",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "credit_entries",
        DataClass.BILLING,
        owner=MINE,
        given="id amount_mc balance_after_mc kind source created_at",
        inner="account_id",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "credit_lots",
        DataClass.BILLING,
        owner=MINE,
        given="id source kind amount_mc left_mc held_mc spent_mc reversed_mc expired_mc expires_at created_at",
        inner="account_id moves",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "credit_holds",
        DataClass.BILLING,
        owner=MINE,
        given="id source amount_mc uncovered_mc state settled_mc expires_at created_at resolved_at",
        inner="account_id",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "credit_pins",
        DataClass.BILLING,
        owner="hold_id in (select id from credit_holds where account_id = :account)",
        given="hold_id lot_id amount_mc",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "credit_adjustments",
        DataClass.BILLING,
        owner=MINE,
        given="id amount_mc reason expires_at created_at",
        inner="account_id made_by attempt_key",
        erasure=Erasure.BLANKED,
        blank={"reason": "'of an account that is erased'"},
        why=BOOKS,
    ),
    Table(
        "purchases",
        DataClass.BILLING,
        owner=MINE,
        given="id bundle credits_mc amount_minor currency livemode state stripe_session_id stripe_payment_intent_id "
        "reversed_minor created_at paid_at",
        inner="account_id attempt_key checkout_url asked_at taken_up",
        erasure=Erasure.BLANKED,
        blank={"checkout_url": "null"},
        why=BOOKS,
    ),
    Table(
        "refunds",
        DataClass.BILLING,
        owner=OF_PURCHASE,
        given="id purchase_id stripe_refund_id origin amount_minor state failure created_at updated_at",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "disputes",
        DataClass.BILLING,
        owner=OF_PURCHASE,
        given="id purchase_id amount_minor status reason created_at updated_at",
        erasure=Erasure.KEPT,
        why=BOOKS,
    ),
    Table(
        "receipts",
        DataClass.BILLING,
        owner=OF_PURCHASE,
        given="number purchase_id buyer_name buyer_email issued_at",
        erasure=Erasure.BLANKED,
        blank={"buyer_name": "''", "buyer_email": "''"},
        why=BOOKS,
    ),
    Table("receipt_counter", DataClass.HOUSE, inner="one last"),
    Table(
        "reconciliations",
        DataClass.BILLING,
        inner="id since started_at ended_at looked_at healed findings",
        ends=Ends(10 * YEAR, since="started_at"),
    ),
    Table(
        "stripe_events",
        DataClass.BILLING,
        owner="about in (select stripe_session_id from purchases where account_id = :account union all"
        " select stripe_payment_intent_id from purchases where account_id = :account)",
        given="id type body about received_at handled_at outcome",
        inner="payer_gone_at",
        ends=Ends(10 * YEAR, since="received_at", only=OF_NO_PURCHASE),
        sooner=(
            Ends(
                timedelta(days=90),
                since="received_at",
                only="payer_gone_at is null",
                blank={"body": "stripe_event_without_payer(body)", "payer_gone_at": "now()"},
            ),
        ),
        given_as={"body": "body #- '{data,object,client_secret}'"},
        erasure=Erasure.BLANKED,
        blank={"body": "stripe_event_without_payer(body)"},
        why=BOOKS,
    ),
)
