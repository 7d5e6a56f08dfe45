"""Tables of the privacy slice itself; the last of the list."""

from datetime import timedelta

from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table
from core.privacy.tables_policies import POLICIES

MINE = "account_id = :account"

PURGE = (
    Table(
        "legal_holds",
        DataClass.REQUEST,
        owner=MINE,
        given="id placed_at lifted_at",
        inner="account_id reason placed_by lifted_by",
        ends=Ends(2 * YEAR, since="lifted_at"),
        erasure=Erasure.KEPT,
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

RIGHTS: tuple[Table, ...] = (*PURGE, *POLICIES)
