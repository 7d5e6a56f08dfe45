"""A stand-in of Stripe's API for the vendor's own SDK: /v1 with its form encoding, errors, lists, idempotency keys."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from quart import Blueprint, Response, request

from sandbox.stripe_account import API_VERSION, Account
from sandbox.stripe_checkout import Checkout
from sandbox.stripe_form import decode
from sandbox.stripe_returns import Returns
from sandbox.stripe_store import Object, Store, StripeError, line_items, new_id, now
from sandbox.stripe_webhooks import ApiFailure, Knobs, Webhooks

LISTED = {  # path, kind, and the fields that a list may be asked by
    "checkout/sessions": ("checkout.session", ("payment_intent", "customer", "status")),
    "payment_intents": ("payment_intent", ("customer",)),
    "charges": ("charge", ("payment_intent", "customer")),
    "refunds": ("refund", ("payment_intent", "charge")),
    "disputes": ("dispute", ("payment_intent", "charge")),
    "customers": ("customer", ("email",)),
    "events": ("event", ("type",)),
    "balance_transactions": ("balance_transaction", ("type", "source", "currency")),
}
SESSION_PARAMS = frozenset(
    re.findall(
        r"\w+",
        """adaptive_pricing after_expiration allow_promotion_codes automatic_tax billing_address_collection
        branding_settings cancel_url client_reference_id consent_collection currency custom_fields custom_text customer
        customer_creation customer_email customer_update discounts expand expires_at invoice_creation line_items locale
        metadata mode name_collection payment_intent_data payment_method_configuration payment_method_options
        payment_method_types phone_number_collection saved_payment_method_options submit_type success_url
        tax_id_collection ui_mode wallet_options""",
    )
)
Handler = Callable[..., Object]


class StripeApi:
    """The whole stand-in: what it keeps, what it does, what it sends."""

    def __init__(self, directory: Path, *, key: str, webhook_secret: str, knobs: Knobs) -> None:
        self.key, self.defaults = key, knobs
        self.store = Store(directory / "stripe.jsonl")
        self.webhooks = Webhooks(self.store, webhook_secret, knobs)
        self.account = Account(self.store, self.webhooks.publish)
        self.checkout, self.returns = Checkout(self.account), Returns(self.account)
        self.url = ""  # where we are reached; pages to pay on live there
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = [
            ("POST", re.compile("checkout/sessions"), self._create_session),
            ("POST", re.compile(r"checkout/sessions/(\w+)/expire"), self._expire_session),
            ("GET", re.compile(r"checkout/sessions/(\w+)/line_items"), self._line_items),
            ("POST", re.compile("refunds"), self._create_refund),
            ("POST", re.compile("customers"), self._create_customer),
            ("DELETE", re.compile(r"customers/(\w+)"), self._delete_customer),
            ("POST", re.compile(r"(customers|refunds|charges|payment_intents)/(\w+)"), self._update),
            ("POST", re.compile(r"disputes/(\w+)"), self._answer_dispute),
            ("POST", re.compile(r"disputes/(\w+)/close"), self._close_dispute),
            ("GET", re.compile(r"([a-z_]+(?:/sessions)?)"), self._list),
            ("GET", re.compile(r"([a-z_]+(?:/sessions)?)/(\w+)"), self._retrieve),
        ]

    @property
    def knobs(self) -> Knobs:
        return self.webhooks.knobs

    def reset(self) -> None:
        """Knobs and counts as at the start; payments stay, events not yet delivered are dropped."""
        self.webhooks.reset(self.defaults.model_copy(deep=True))

    def handle(self, method: str, path: str, params: Object, key: str | None) -> Object:
        for verb, pattern, handler in self.routes:
            found = pattern.fullmatch(path)
            if verb == method and found:
                answer = handler(*found.groups(), params=params, key=key)
                return self.store.public(self.store.expanded(answer, params.get("expand", [])))
        raise StripeError(404, f"Unrecognized request URL ({method}: /v1/{path}).")

    def _create_session(self, *, params: Object, key: str | None) -> Object:
        del key
        if unknown := sorted(params.keys() - SESSION_PARAMS):
            said = f"Received unknown parameter: {unknown[0]}"
            raise StripeError(400, said, code="parameter_unknown", param=unknown[0])
        for name in ("mode", "line_items", "success_url"):
            if not params.get(name):
                raise StripeError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
        if params["mode"] != "payment":
            raise StripeError(400, "The stand-in knows only mode=payment.", param="mode")
        if "customer" in params:
            self.store.find("customer", params["customer"], "customer")
        return self.checkout.open_session(params, lambda name: f"{self.url}/pay/{name}")

    def _expire_session(self, name: str, **_: Any) -> Object:
        return self.checkout.expire(self.store.find("checkout.session", name))

    def _line_items(self, name: str, **_: Any) -> Object:
        return line_items(self.store.find("checkout.session", name))

    def _create_refund(self, *, params: Object, key: str | None) -> Object:
        return self.returns.refund(params, key, outcome=self.knobs.refunds)

    def _create_customer(self, *, params: Object, key: str | None) -> Object:
        names = ("email", "name", "phone", "description", "address", "metadata")
        given = {name: params.get(name) for name in names} | {"metadata": params.get("metadata", {})}
        about = {"id": new_id("cus", 14), "object": "customer", "created": now(), "livemode": False}
        customer = self.store.put(about | {"balance": 0, "currency": None, "delinquent": False} | given)
        self.account.event("customer.created", customer, key=key)
        return customer

    def _delete_customer(self, name: str, **_: Any) -> Object:
        self.store.find("customer", name)
        self.store.put({"id": name, "object": "deleted_customer"})  # of that kind there is no name any more
        return {"id": name, "object": "customer", "deleted": True}

    def _update(self, path: str, name: str, *, params: Object, key: str | None) -> Object:
        del key
        found = self.store.find(LISTED[path][0], name)
        given = {field: value for field, value in params.items() if field in found and field != "metadata"}
        metadata = found["metadata"] | params.get("metadata", {})
        return self.store.put(found | given | {"metadata": {name: value for name, value in metadata.items() if value}})

    def _answer_dispute(self, name: str, *, params: Object, key: str | None) -> Object:
        del key
        dispute = self.store.find("dispute", name)
        dispute["evidence"] |= params.get("evidence", {})
        dispute["evidence_details"]["has_evidence"] = bool(dispute["evidence"])
        if dispute["status"].endswith("needs_response") and params.get("submit", "true") == "true":
            dispute["status"] = dispute["status"].replace("needs_response", "under_review")
            dispute["evidence_details"]["submission_count"] += 1
        self.store.put(dispute)
        self.account.event("charge.dispute.updated", dispute)
        return dispute

    def _close_dispute(self, name: str, **_: Any) -> Object:
        return self.returns.close_dispute(self.store.find("dispute", name), "lost")

    def _list(self, path: str, *, params: Object, key: str | None) -> Object:
        del key
        kind, fields = _listed(path)
        found = self.store.all(kind, **{name: params.get(name) for name in fields})
        if isinstance(params.get("types"), list):
            found = [one for one in found if one["type"] in params["types"]]
        page = self.store.page(f"/v1/{path}", found, params)
        return page | {"data": [self.store.public(one) for one in page["data"]]}

    def _retrieve(self, path: str, name: str, **_: Any) -> Object:
        return self.store.find(_listed(path)[0], name)


def _listed(path: str) -> tuple[str, tuple[str, ...]]:
    if path not in LISTED:
        raise StripeError(404, f"Unrecognized request URL (/v1/{path}).")
    return LISTED[path]


def blueprint(api: StripeApi) -> Blueprint:
    """The routes under /v1."""
    routes = Blueprint("stripe", __name__)

    @routes.route("/v1/<path:path>", methods=["GET", "POST", "DELETE"])
    async def call(path: str) -> Response:
        api.webhooks.stats.requests += 1
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        body = str(await request.get_data(as_text=True))
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        if api.knobs.latency_ms:
            await asyncio.sleep(api.knobs.latency_ms / 1000)
        failure = _next_failure(api.knobs, path)
        if not hmac.compare_digest(given.encode(), api.key.encode()):
            return _answer(401, StripeError(401, f"Invalid API Key provided: {given[:8]}***").body)
        if failure and not failure.executed:
            return await _failed(failure)
        try:
            answer = await _once(api, path, body or request.query_string.decode(), key)
        except StripeError as error:
            return _answer(error.status, error.body)
        return await _failed(failure) if failure else answer

    return routes


async def _once(api: StripeApi, path: str, body: str, key: str | None) -> Response:
    """Do it; with a key that was seen before, give the answer of the first time."""
    if key is None:
        return _answer(200, api.handle(request.method, path, decode(body), None))
    asked = hashlib.sha256(f"{path}?{body}".encode()).hexdigest()
    name = f"idempotency:{key}"
    kept = api.store.objects.get(name)
    if kept and kept["asked"] != asked:
        said = "Keys for idempotent requests can only be used with the same parameters they were first used with."
        raise StripeError(400, said, kind="idempotency_error")
    if kept:
        api.webhooks.stats.replayed += 1
        headers = {"idempotent-replayed": "true", "original-request": kept["request"]}
        return _answer(200, kept["answer"], headers, key)
    answer = api.handle(request.method, path, decode(body), key)
    response = _answer(200, answer, key=key)
    about = {"asked": asked, "request": response.headers["request-id"], "answer": answer}
    api.store.put({"id": name, "object": "idempotency", "created": now(), **about})
    return response


def _answer(status: int, body: Object, headers: dict[str, str] | None = None, key: str | None = None) -> Response:
    response = Response(orjson.dumps(body), status, {"request-id": new_id("req", 14)}, content_type="application/json")
    response.headers["stripe-version"] = request.headers.get("Stripe-Version", API_VERSION)
    if key is not None:
        response.headers["idempotency-key"] = key
    response.headers.update(headers or {})
    return response


def _next_failure(knobs: Knobs, path: str) -> ApiFailure | None:
    for failure in knobs.fail:
        if failure.match in path:
            if failure.times == 1:
                knobs.fail.remove(failure)
            elif failure.times:
                failure.times -= 1
            return failure
    return None


async def _failed(failure: ApiFailure) -> Response:
    if failure.hang:
        await asyncio.Event().wait()  # the client's time-out ends the request
    kind = "rate_limit" if failure.status == 429 else "api_error"
    more = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    said = "An unknown error occurred." if kind == "api_error" else "Too many requests."
    return _answer(failure.status, {"error": {"message": said, "type": kind}}, more)
