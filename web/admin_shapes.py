"""What the API answers to admins; the rest is in web/shapes.py."""

from typing import Any

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import CreditFacts, Id, Time


class AccountRow(TypedDict):
    id: Id
    name: str
    email: str
    role: str
    created_at: Time
    disabled: bool


class AccountRows(TypedDict):
    accounts: list[AccountRow]  # by address; at most 20


class AccountView(AccountRow):
    credits: CreditFacts


class HappeningFacts(TypedDict):
    at: Time
    key: str  # its own on this time line
    what: str  # entry, hold, hold_settled, lot, adjustment, purchase, refund, dispute, receipt, stripe_event, ...
    facts: dict[str, Any]


class Timeline(TypedDict):
    happenings: list[HappeningFacts]  # newest first
    next: str | None  # the `after` of the next page


class AdjustmentFacts(TypedDict):
    id: Id
    account_id: Id
    amount_mc: int
    reason: str
    made_by: Id
    expires_at: Time | None
    created_at: Time


class ReconciliationFacts(TypedDict):
    id: Id
    since: Time
    started_at: Time
    ended_at: Time
    looked_at: int
    healed: int
    findings: list[dict[str, Any]]


class Reconciliations(TypedDict):
    reconciliations: list[ReconciliationFacts]  # newest first


class ViolationFacts(TypedDict):
    rule: str
    account_id: Id
    kept: int  # in the rule's own unit: millicredits for those of the credits
    expected: int


class Violations(TypedDict):
    violations: list[ViolationFacts]  # none is right
