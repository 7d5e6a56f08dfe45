"""What the API answers about the erasure of an account."""

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class ErasureFacts(TypedDict):
    state: Literal["none", "grace", "running"]
    asked_at: Time | None
    due_at: Time | None  # until then it can be undone
    can_undo: bool
    waits_for: str | None  # why it has to wait although it is due: "legal-hold", "last-admin"


class GoneFacts(TypedDict):
    rows: int
    what: str
    tables: dict[str, int]


class StayingFacts(TypedDict):
    rows: int
    why: str
    until: str | None  # the day by which the last of it is gone; null: as long as what it belongs to is there
    tables: dict[str, int]


class Proof(TypedDict):
    erasure: Id
    asked_at: Time
    erased_at: Time
    gone: list[GoneFacts]  # each with the `class` of the data
    stays: list[StayingFacts]
    teams: dict[str, int]  # how many were left, handed over, deleted
    outside: dict[str, Any]
    elsewhere: list[str]  # what is true of copies, and of others
    signature: str  # ours, of all the rest
