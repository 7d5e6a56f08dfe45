"""What Stripe says, as our own types: read from its answers, kept nowhere as they are."""

from dataclasses import dataclass
from typing import Any

from core.billing.models import RefundState

# What a refund is while nobody can say yet; Stripe has two words for it.
UNDECIDED = frozenset({"pending", "requires_action"})
# A dispute that takes no money: the bank only asks, gave up, lost against us, or was settled before it began.
TAKES_NOTHING = frozenset({"won", "prevented"})
DECIDED = TAKES_NOTHING | {"lost", "warning_closed"}
INQUIRY = "warning_"


@dataclass(frozen=True)
class Checkout:
    """What Stripe says about a Checkout session: what we asked it to sell, and how far the buyer is."""

    id: str
    url: str | None
    mode: str
    status: str | None  # open, complete, expired
    payment_status: str  # paid, unpaid, no_payment_required
    payment_intent: str | None
    payment_failed: bool  # a delayed payment, such as a bank debit, came to nothing
    returns: bool  # the charge shows refunds or disputes; only of a session that was fetched, not listed
    reference: str | None  # client_reference_id: our purchase
    purchase: str | None  # the same, from the metadata, which no address can set
    amount_minor: int | None
    currency: str | None
    livemode: bool
    items: tuple[tuple[int | None, int | None], ...]  # quantity and unit price of each line


@dataclass(frozen=True)
class RefundFacts:
    """A refund at Stripe; `ours` is our own id of it, for one that was asked for here."""

    id: str
    amount_minor: int
    state: RefundState
    failure: str | None
    payment_intent: str | None
    ours: str | None


@dataclass(frozen=True)
class DisputeFacts:
    id: str
    amount_minor: int
    currency: str
    status: str
    reason: str
    payment_intent: str | None


def takes(status: str) -> bool:
    """Whether a dispute of this status holds money back, or has taken it."""
    return not status.startswith(INQUIRY) and status not in TAKES_NOTHING


def is_open(status: str) -> bool:
    """Whether a dispute of this status is yet to be decided; an inquiry too."""
    return status not in DECIDED


def checkout_of(told: dict[str, Any]) -> Checkout:
    intent = told.get("payment_intent")
    intent = {"id": intent} if isinstance(intent, str) else intent or {}
    charge = intent.get("latest_charge")
    charge = charge if isinstance(charge, dict) else {}
    return Checkout(
        id=told["id"],
        url=told.get("url"),
        mode=told["mode"],
        status=told.get("status"),
        payment_status=told["payment_status"],
        payment_intent=intent.get("id"),
        payment_failed=told.get("status") == "complete"
        and told["payment_status"] == "unpaid"
        and intent.get("status") in {"requires_payment_method", "canceled"},
        returns=bool(charge.get("amount_refunded") or charge.get("disputed")),
        reference=told.get("client_reference_id"),
        purchase=(told.get("metadata") or {}).get("purchase"),
        amount_minor=told.get("amount_total"),
        currency=told.get("currency"),
        livemode=told["livemode"],
        items=tuple(
            (line.get("quantity"), (line.get("price") or {}).get("unit_amount"))
            for line in (told.get("line_items") or {}).get("data", ())
        ),
    )


def refund_of(told: dict[str, Any]) -> RefundFacts:
    status = told.get("status") or "pending"
    return RefundFacts(
        id=told["id"],
        amount_minor=told["amount"],
        state=RefundState.PENDING if status in UNDECIDED else RefundState(status),
        failure=told.get("failure_reason"),
        payment_intent=told.get("payment_intent"),
        ours=(told.get("metadata") or {}).get("refund"),
    )


def dispute_of(told: dict[str, Any]) -> DisputeFacts:
    return DisputeFacts(
        id=told["id"],
        amount_minor=told["amount"],
        currency=told["currency"],
        status=told["status"],
        reason=told["reason"],
        payment_intent=told.get("payment_intent"),
    )
