"""Checkout at the stand-in of Stripe: a session, its payment intent, its charge, and the events of each step."""

from collections.abc import Callable
from typing import Any

from sandbox.stripe_account import Account, step
from sandbox.stripe_store import Object, StripeError, new_id, now

SESSION_LIFE = 24 * 3600  # seconds; docs.stripe.com/api/checkout/sessions/create, expires_at


class Checkout:
    def __init__(self, account: Account) -> None:
        self.account, self.store = account, account.store

    def open_session(self, given: Object, url: Callable[[str], str]) -> Object:
        items = [_line_item(number, item) for number, item in enumerate(given["line_items"])]
        total = sum(item["amount_total"] for item in items)
        name = new_id("cs_test", 58)
        session = {
            "id": name,
            "object": "checkout.session",
            "after_expiration": None,
            "allow_promotion_codes": None,
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
            "billing_address_collection": given.get("billing_address_collection"),
            "cancel_url": given.get("cancel_url"),
            "client_reference_id": given.get("client_reference_id"),
            "client_secret": None,
            "created": now(),
            "currency": items[0]["currency"],
            "customer": given.get("customer"),
            "customer_creation": given.get("customer_creation", "if_required"),
            "customer_details": None,
            "customer_email": given.get("customer_email"),
            "expires_at": int(given.get("expires_at", now() + SESSION_LIFE)),
            "invoice": None,
            "livemode": False,
            "locale": given.get("locale"),
            "metadata": given.get("metadata", {}),
            "mode": given["mode"],
            "payment_intent": None,
            "payment_link": None,
            "payment_method_types": given.get("payment_method_types", ["card", "sepa_debit"]),
            "payment_status": "unpaid",
            "setup_intent": None,
            "status": "open",
            "submit_type": given.get("submit_type"),
            "subscription": None,
            "success_url": given["success_url"],
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": given.get("ui_mode", "hosted_page"),
            "url": url(name),
            "_line_items": items,
            "_payment_intent_data": given.get("payment_intent_data", {}),
        }
        return self.store.put(session)

    def expire(self, session: Object) -> Object:
        if session["status"] != "open":
            said = f"Only Checkout Sessions with a status in ['open'] can be expired. This one is {session['status']}."
            raise StripeError(400, said)
        session |= {"status": "expired", "url": None}
        self.store.put(session)
        self.account.event("checkout.session.expired", session)
        return session

    def pay(self, session: Object, *, method: str = "card", email: str | None = None) -> Object:
        """A person pays. method: card; delayed (a debit that is settled later); declined."""
        if session["status"] == "open" and session["expires_at"] < now():
            self.expire(session)
        if session["status"] != "open":
            raise StripeError(400, f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")
        intent = self.store.objects.get(session.get("_intent", "")) or self._intent(session)
        if method == "declined":
            self._fail(intent, "card_declined", "Your card was declined.")
            return session
        email = email or session["customer_email"] or "payer@example.com"
        details: Object = {"email": email, "name": "A Payer", "phone": None, "tax_exempt": "none", "tax_ids": []}
        details["address"] = {
            "city": None,
            "country": "DE",
            "line1": None,
            "line2": None,
            "postal_code": None,
            "state": None,
        }
        session |= {"status": "complete", "url": None, "payment_intent": intent["id"], "customer_details": details}
        if method == "card":
            session["payment_status"] = "paid"
            self.store.put(session)
            self._succeed(intent)
        else:
            self.store.put(session)
            self.store.put(intent | {"status": "processing", "payment_method_types": ["sepa_debit"]})
            self.account.event("payment_intent.processing", self.store.objects[intent["id"]])
        self.account.event("checkout.session.completed", session)
        return session

    def settle(self, session: Object, *, succeeds: bool) -> Object:
        """A delayed payment comes to its end."""
        if session["status"] != "complete" or session["payment_status"] != "unpaid":
            raise StripeError(400, "This Checkout Session does not wait for a delayed payment.")
        intent = self.store.objects[session["payment_intent"]]
        if intent["status"] != "processing":
            raise StripeError(400, "The delayed payment of this Checkout Session has failed already.")
        if succeeds:
            session["payment_status"] = "paid"
            self.store.put(session)
            self._succeed(intent)
            self.account.event("checkout.session.async_payment_succeeded", session)
        else:
            self._fail(intent, "insufficient_funds", "The customer's account has insufficient funds.")
            self.account.event("checkout.session.async_payment_failed", session)
        return session

    def _intent(self, session: Object) -> Object:
        data = session["_payment_intent_data"]
        intent = {
            "id": new_id("pi"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "amount_capturable": 0,
            "amount_received": 0,
            "canceled_at": None,
            "capture_method": "automatic",
            "created": now(),
            "currency": session["currency"],
            "customer": session["customer"],
            "description": data.get("description"),
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": data.get("metadata", {}),
            "payment_method": new_id("pm"),
            "payment_method_types": ["card"],
            "receipt_email": data.get("receipt_email"),
            "statement_descriptor": data.get("statement_descriptor"),
            "status": "requires_payment_method",
        }
        self.store.put(session | {"_intent": intent["id"]})
        session["_intent"] = intent["id"]
        self.store.put(intent)
        self.account.event("payment_intent.created", intent)
        return intent

    def _succeed(self, intent: Object) -> None:
        charge = {
            "id": new_id("ch"),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": intent["amount"],
            "amount_refunded": 0,
            "balance_transaction": None,
            "billing_details": {"email": None, "name": None, "phone": None},
            "captured": True,
            "created": now(),
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_code": None,
            "failure_message": None,
            "livemode": False,
            "metadata": intent["metadata"],
            "outcome": {"network_status": "approved_by_network", "risk_level": "normal", "type": "authorized"},
            "paid": True,
            "payment_intent": intent["id"],
            "payment_method": intent["payment_method"],
            "payment_method_details": {"type": intent["payment_method_types"][0]},
            "receipt_email": intent["receipt_email"],
            "refunded": False,
            "status": "succeeded",
        }
        charge["balance_transaction"] = self.account.book(charge, charge["amount"], "charge")
        self.store.put(charge)
        done = {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": charge["id"]}
        self.store.put(intent | done)
        self.account.event("charge.succeeded", charge)
        self.account.event("payment_intent.succeeded", self.store.objects[intent["id"]])

    def _fail(self, intent: Object, code: str, said: str) -> None:
        error = {"code": code, "message": said, "type": "card_error"}
        self.store.put(intent | {"status": "requires_payment_method", "last_payment_error": error})
        self.account.event("payment_intent.payment_failed", self.store.objects[intent["id"]])


def _line_item(number: int, given: Object) -> Object:
    data: Any = given.get("price_data")
    if not isinstance(data, dict):
        raise StripeError(400, "The stand-in knows only prices given as price_data.", param=f"line_items[{number}]")
    try:
        amount, quantity = int(data["unit_amount"]), int(given.get("quantity", 1))
        currency, name = data["currency"], data["product_data"]["name"]
    except KeyError as missing:
        param = f"line_items[{number}][price_data][{missing.args[0]}]"
        raise StripeError(400, f"Missing required param: {param}.", code="parameter_missing", param=param) from None
    if amount % step(currency):
        raise StripeError(
            400, f"Invalid amount for {currency}.", param=f"line_items[{number}][price_data][unit_amount]"
        )
    total = amount * quantity
    price = {"id": new_id("price"), "object": "price", "active": False, "currency": currency, "unit_amount": amount}
    return {
        "id": new_id("li"),
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": currency,
        "description": name,
        "metadata": {},
        "price": price | {"product": new_id("prod"), "type": "one_time"},
        "quantity": quantity,
    }
