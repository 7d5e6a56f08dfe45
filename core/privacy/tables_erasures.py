"""The table of erasures."""

from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table

ERASURES = (
    Table(
        "erasures",
        DataClass.REQUEST,
        owner="account_id = :account",
        given="id state waits_for asked_at due_at ended_at proof",
        secret="link_hash",  # noqa: S106  # the name of a column
        inner="account_id request_id reminded_at",
        ends=Ends(2 * YEAR, since="ended_at"),
        erasure=Erasure.KEPT,
        why="That you asked for the erasure, and its proof, by the account's number alone.",
    ),
)
