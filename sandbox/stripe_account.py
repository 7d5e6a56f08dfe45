"""The account at the stand-in of Stripe: what it keeps, the events it publishes, the lines of its balance."""

from collections.abc import Callable

from sandbox.stripe_store import Object, Store, new_id, now

API_VERSION = "2026-10-28.endive"  # of the account; events are written in it
FEE_PERCENT, FEE_FIXED = 1.5, 25  # what Stripe keeps of a charge: percent, and cents
ZERO_DECIMAL = {"jpy", "krw", "vnd", "clp", "xaf", "xof"}
THREE_DECIMAL = {"bhd", "jod", "kwd", "omr", "tnd"}  # the last digit is always 0
WHOLE = {"isk", "ugx"}  # two decimals in the API, always 00


class Account:
    """`publish` is given every event, once it is kept."""

    def __init__(self, store: Store, publish: Callable[[Object], None]) -> None:
        self.store, self.publish = store, publish

    def event(self, kind: str, about: Object, *, key: str | None = None, before: Object | None = None) -> Object:
        """Keep an event with the object as it is now, and publish it."""
        data: Object = {"object": self.store.expanded(self.store.public(about), [])}
        if before:
            data["previous_attributes"] = before
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": new_id("req", 14) if key else None, "idempotency_key": key},
            "type": kind,
        }
        self.publish(self.store.put(event))
        return event

    def book(self, source: Object, amount: int, kind: str) -> str:
        """A line of the account's balance; what Stripe keeps for itself is its `fee`."""
        fee = round(amount * FEE_PERCENT / 100) + FEE_FIXED if kind == "charge" else 0
        line = {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now(),
            "created": now(),
            "currency": source["currency"],
            "description": source.get("description"),
            "fee": fee,
            "net": amount - fee,
            "reporting_category": kind,
            "source": source["id"],
            "status": "available",
            "type": kind,
        }
        return str(self.store.put(line)["id"])


def money(amount: int, currency: str) -> str:
    """For a person: 12.34 EUR."""
    places = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    shown = f"{amount / 10**places:,.{places}f}"
    return f"{shown} {currency.upper()}"


def step(currency: str) -> int:
    """Of which an amount must be a multiple (docs.stripe.com/currencies, "Special cases")."""
    return 10 if currency in THREE_DECIMAL else 100 if currency in WHOLE else 1
