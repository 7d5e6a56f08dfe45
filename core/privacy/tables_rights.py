"""Tables of the privacy slice itself; the last of the list."""

from datetime import timedelta

from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table
from core.privacy.tables_erasures import ERASURES
from core.privacy.tables_policies import POLICIES
from core.privacy.tables_restores import RESTORES

MINE = "account_id = :account"
TWO_YEARS = timedelta(days=731)  # 24 months with a leap day among them (11 CCR 7101(a))

PURGE = (
    Table(
        "legal_holds",
        DataClass.REQUEST,
        owner=MINE,
        given="id placed_at lifted_at",
        inner="account_id reason placed_by lifted_by",
        ends=Ends(TWO_YEARS, since="lifted_at"),
        erasure=Erasure.BLANKED,
        blank={"reason": "''"},
        why="That a law kept us from deleting, and from when to when.",
    ),
    Table(
        "held_texts",
        DataClass.TRANSCRIPT,
        owner=MINE,
        given="said_on message_id text",
        inner="account_id",
        ends=Ends(timedelta(days=30), since="said_on"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "purge_receipts",
        DataClass.HOUSE,
        inner="id run_id data_class gone begun_at ended_at previous hash key_id signature",
        ends=Ends(2 * YEAR, since="ended_at"),
    ),
    Table(
        "canaries",
        DataClass.HOUSE,
        inner="id place planted_at due_at gone_at",
        ends=Ends(timedelta(days=30), since="gone_at"),
    ),
)

REQUESTS = (
    Table(
        "privacy_requests",
        DataClass.REQUEST,
        owner=MINE,
        given="id kind sources state sender words received_at acknowledge_by gdpr_due ccpa_due acknowledged_at identity"
        " extended_at extension_reason closed_at outcome basis",
        inner="account_id",
        ends=Ends(TWO_YEARS, since="closed_at"),
        erasure=Erasure.BLANKED,
        blank={"sender": "null", "words": "''"},
        why="That you asked, and what we answered, for two years: the law has us keep the record.",
    ),
    Table(
        "privacy_request_steps",  # each goes with its request
        DataClass.REQUEST,
        owner="request_id in (select id from privacy_requests where account_id = :account)",
        given="id request_id at did manner words basis",
        inner="by",
        erasure=Erasure.BLANKED,
        blank={"words": "case when did in ('filed', 'asked_again') then '' else words end"},
        why="What was done with your requests, for as long as those are kept.",
    ),
)

EXPORTS = (
    Table(
        "exports",  # with its file in Room.EXPORTS: core/privacy/exports.py deletes both
        DataClass.REQUEST,
        owner=MINE,
        given="id request_id state reason rows files missing bytes created_at ended_at fetched_at",
        inner="account_id job_id blob steps steps_done",
        ends=Ends(timedelta(days=7), since="ended_at"),
        erasure=Erasure.DELETED,
    ),
)

RIGHTS: tuple[Table, ...] = (*REQUESTS, *PURGE, *POLICIES, *ERASURES, *EXPORTS, *RESTORES)
