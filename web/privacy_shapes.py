"""What the API answers about data protection; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time

RequestKindName = Literal["access", "portability", "correction", "erasure", "restriction", "objection", "opt_out"]
StateName = Literal["open", "waiting_for_identity", "working", "answered", "refused", "withdrawn"]


class RequestFacts(TypedDict):
    id: Id
    kind: RequestKindName
    state: StateName
    sources: list[Literal["account", "mail"]]
    details: str
    received_at: Time
    answer_by: str  # the last day, as 2026-12-24; in UTC, as all days are
    acknowledged_at: Time | None
    extended_at: Time | None
    extension_reason: str | None
    closed_at: Time | None
    outcome: str | None
    basis: str | None  # why it was refused


class Requests(TypedDict):
    requests: list[RequestFacts]  # newest first; at most 50


class ShareFacts(TypedDict):
    data_class: str
    holds: str
    purpose: str
    basis: Literal["contract", "duty", "interest", "consent", "none"]  # of article 6(1) GDPR
    kept_days: int | None  # None: as long as there is the account
    rows: int


class Shares(TypedDict):
    classes: list[ShareFacts]


class StepFacts(TypedDict):
    at: Time
    did: str
    manner: str
    words: str
    basis: str | None
    by: str | None  # the admin's address


class AdminRequestRow(RequestFacts):
    account_id: Id | None
    email: str | None  # of the account
    sender: str | None  # the address that it was mailed from
    acknowledge_by: str
    gdpr_due: str
    ccpa_due: str
    identity: str  # how we know that it was them; empty: we do not


class AdminRequests(TypedDict):
    requests: list[AdminRequestRow]
    next: str | None


class AdminRequest(AdminRequestRow):
    steps: list[StepFacts]  # oldest first


class HoldFacts(TypedDict):
    id: Id
    reason: str
    placed_at: Time


class Holds(TypedDict):
    holds: list[HoldFacts]  # the open ones, newest first


class EndOfRestriction(TypedDict):
    ends_at: Time
