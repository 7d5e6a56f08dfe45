"""What the pages of admins show: as context.py, for them alone."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from core.accounts import profile
from core.billing import bundles, timeline
from core.billing.money import format_money
from core.billing.receipts import shown_number
from core.credits.timeline import Happening
from core.database import transaction
from web import admin
from web.pages.filters import clock, credits_text

Facts = dict[str, Any]


class Line(TypedDict):
    """A happening in words. Amounts only where the balance changed."""

    at: datetime
    title: str
    details: list[str]
    amount_mc: int | None
    after_mc: int | None


def _money(facts: Facts) -> str:
    return format_money(facts["amount_minor"], facts["currency"])


def _until(facts: Facts) -> list[str]:
    return [f"expires {clock(facts['expires_at'])}"] if facts["expires_at"] else []


def _parts(facts: Facts) -> str:
    names = ("left", "held", "spent", "reversed", "expired")
    return "now " + ", ".join(f"{credits_text(mc)} {name}" for name in names if (mc := facts[f"{name}_mc"]))


def _of_purchase(facts: Facts) -> str:
    return f"purchase {facts['purchase']}"


ENTRIES = {
    "purchase": "Credits bought",
    "grant": "Credits given",
    "promotion": "Credits given, with an end",
    "usage": "Answer paid",
    "refund": "Credits taken back for a refund",
    "dispute": "Credits taken back for a dispute",
    "restored": "Credits restored",
    "expiry": "Credits expired",
    "correction": "Credits taken by an admin",
}
# By what happened: its title, and its details.
WORDS: dict[str, Callable[[Facts], tuple[str, list[str]]]] = {
    "entry": lambda facts: (ENTRIES[facts["kind"]], [facts["source"]]),
    "hold": lambda facts: ("Hold opened", [f"{credits_text(facts['amount_mc'])} set aside", facts["source"]]),
    "hold_settled": lambda facts: (
        "Hold settled",
        [f"{credits_text(facts['settled_mc'])} of {credits_text(facts['amount_mc'])} taken", facts["source"]],
    ),
    "hold_released": lambda facts: (
        "Hold released",
        [f"{credits_text(facts['amount_mc'])} given back", facts["source"]],
    ),
    "lot": lambda facts: (
        f"Lot of {credits_text(facts['amount_mc'])}",
        [_parts(facts), *_until(facts), facts["source"]],
    ),
    "adjustment": lambda facts: (
        f"Adjustment by {facts['made_by']}",
        [f"“{facts['reason']}”", f"{credits_text(facts['amount_mc'])} credits", *_until(facts)],
    ),
    "purchase": lambda facts: (
        f"Purchase begun: {bundles.name_of(facts['bundle'])} for {_money(facts)}",
        [f"now {facts['state']}", _of_purchase(facts), *([facts["checkout"]] if facts["checkout"] else [])],
    ),
    "purchase_paid": lambda facts: (
        f"Purchase paid: {credits_text(facts['credits_mc'])} credits for {_money(facts)}",
        [_of_purchase(facts)],
    ),
    "refund": lambda facts: (
        f"Refund of {_money(facts)} begun {'by the buyer' if facts['origin'] == 'buyer' else 'at Stripe'}",
        [_of_purchase(facts)],
    ),
    "dispute": lambda facts: (
        f"Dispute of {_money(facts)}: {facts['reason'].replace('_', ' ')}",
        [facts["dispute"], _of_purchase(facts)],
    ),
    "dispute_now": lambda facts: (
        f"Dispute: {facts['status'].replace('_', ' ')}",
        [facts["dispute"], _of_purchase(facts)],
    ),
    "receipt": lambda facts: (f"Receipt {shown_number(facts['number'])} issued", [_of_purchase(facts)]),
    "stripe_event": lambda facts: (
        f"Stripe: {facts['type']}",
        [facts["event"], f"outcome: {facts['outcome']}" if facts["outcome"] else "not handled yet"],
    ),
}


def _refund_now(facts: Facts, state: str) -> tuple[str, list[str]]:
    known = [facts[name] for name in ("refund", "failure") if facts[name]]
    return f"Refund of {_money(facts)}: {state}", [*known, _of_purchase(facts)]


def told(one: Happening) -> Line:
    """A happening in an admin's words."""
    if one.what in WORDS:
        title, details = WORDS[one.what](one.facts)
    else:
        title, details = _refund_now(one.facts, one.what.removeprefix("refund_"))
    moved = one.facts if one.what == "entry" else {}
    return {
        "at": one.at,
        "title": title,
        "details": details,
        "amount_mc": moved.get("amount_mc"),
        "after_mc": moved.get("balance_after_mc"),
    }


async def search(part: str) -> dict[str, Any]:
    return {"part": part, "accounts": await admin.found_accounts(part)}


async def account(account_id: UUID, *, after: str) -> dict[str, Any]:
    """An account's balance and a page of its time line. Raises NotFound."""
    place = admin.place_of(after)
    async with transaction() as session:
        person = await admin.view(session, account_id)
        happenings = await timeline.page(session, place, account_id=account_id)
    return {
        "person": person,
        "lines": [told(one) for one in happenings],
        "next": admin.happened(happenings)["next"],
        "first": not after,
    }


async def books() -> dict[str, Any]:
    """Each rule checked now, and the last comparisons with Stripe; addresses beside the accounts' ids."""
    violations = await admin.violations()
    async with transaction() as session:
        addresses = await profile.addresses(session, {one["account_id"] for one in violations})
    return {"violations": violations, "addresses": addresses, "reports": await admin.last_reports()}
