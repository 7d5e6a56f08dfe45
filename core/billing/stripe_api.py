"""Stripe, spoken to by its own SDK: the only file that knows it. Everything it answers leaves here as our own types."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import quote
from uuid import UUID

import httpx
import orjson
import stripe

from core import secrets
from core.billing.models import Purchase
from core.billing.stripe_facts import Checkout, DisputeFacts, RefundFacts, checkout_of, dispute_of, refund_of
from core.errors import ClofyError, Kind, Unavailable
from core.settings import Secret, settings
from core.telemetry import log

API_VERSION = "2026-10-28.endive"  # what this file was written for; the webhook endpoint is pinned to it too
TOLERANCE = 300  # seconds a signature may be old, or early (docs.stripe.com/webhooks, "replay attacks")
TIMEOUT = httpx.Timeout(10, connect=3)
# When a twin of the request still runs at Stripe, it answers 409 at once (docs.stripe.com/api/errors): we ask again,
# for as long as TIMEOUT lasts. The SDK does not give this error its code.
TWIN_UNDER_WAY = 409
TWIN_WAITS = (0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 4.0)
EXPAND = ["line_items", "payment_intent.latest_charge"]
PAGE = 100  # of a list: Stripe's most

Facts = TypeVar("Facts")

logger = log(__name__)


class StripeUnavailable(Unavailable):
    """The payment service does not answer. Nothing was charged; please try again in a moment."""


class StripeRefused(ClofyError):
    """The payment service did not accept this."""

    kind = Kind.CONFLICT


class UnknownCheckout(ClofyError):
    """The payment service does not know this checkout."""

    kind = Kind.NOT_FOUND


class UnknownPayment(ClofyError):
    """The payment service does not know this payment."""

    kind = Kind.NOT_FOUND


class ForgedEvent(ClofyError):
    """This is not a signed event of Stripe's."""

    kind = Kind.INVALID


class OtherApiVersion(ClofyError):
    """This event was written for another version of Stripe's API than the one that we read."""

    kind = Kind.INVALID


class _Transport(stripe.HTTPClient):
    """The SDK's requests over httpx. Its own client for httpx (16.1) sends bodies in a way that httpx deprecated."""

    name = "httpx"

    def __init__(self) -> None:
        super().__init__()
        self.client = httpx.AsyncClient(timeout=TIMEOUT)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Ask Stripe; once more if it refuses our key and the vault has another by now."""
        answer = await self._ask(method, url, headers, post_data)
        refused = headers.get("Authorization", "").removeprefix("Bearer ")
        if answer.status_code == 401 and await secrets.refreshed(Secret.STRIPE_API_KEY, refused=refused):
            bearer = f"Bearer {secrets.current(Secret.STRIPE_API_KEY)}"
            answer = await self._ask(method, url, {**headers, "Authorization": bearer}, post_data)
        return answer.content, answer.status_code, answer.headers

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], content: str | None) -> httpx.Response:
        try:
            return await self.client.request(method, url, headers=headers, content=content)
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError(type(error).__name__) from error  # type: ignore[no-untyped-call]


@cache
def _transport() -> _Transport:
    return _Transport()


def _client() -> stripe.StripeClient:
    return _client_with(secrets.current(Secret.STRIPE_API_KEY))


@cache
def _client_with(key: str) -> stripe.StripeClient:
    """One client a process and key, on the loop that first uses it; jobs and buyers repeat, so it does not."""
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": settings().stripe_api_base},
        max_network_retries=0,
        http_client=_transport(),
    )


async def close() -> None:
    """Give the connections back; the next use opens new ones."""
    if _transport.cache_info().currsize:
        await _transport().client.aclose()
    _client_with.cache_clear()
    _transport.cache_clear()


def livemode() -> bool:
    """Whether our key moves real money: `sk_live_...`, or `rk_live_...` of a restricted one."""
    return secrets.current(Secret.STRIPE_API_KEY).startswith(("sk_live_", "rk_live_"))


async def create_session(purchase: Purchase, *, name: str, success_url: str, cancel_url: str) -> Checkout:
    """Have Stripe make the page on which this purchase is paid; the same page however often it is asked.

    Stripe repeats its first answer to an idempotency key for a day, a 500 too. The page that such a request may have
    made is known to nobody, so a further key is harmless. Raises StripeUnavailable, StripeRefused.
    """
    key = f"purchase:{purchase.id}"
    for wait in (*TWIN_WAITS, None):
        try:
            created = await _client().v1.checkout.sessions.create_async(
                params={
                    "mode": "payment",
                    "success_url": success_url,
                    "cancel_url": cancel_url,
                    "client_reference_id": str(purchase.id),
                    "metadata": {"purchase": str(purchase.id)},
                    "payment_intent_data": {"metadata": {"purchase": str(purchase.id)}},
                    "adaptive_pricing": {"enabled": False},  # it would have the buyer pay another amount and currency
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": purchase.currency,
                                "unit_amount": purchase.amount_minor,
                                "product_data": {"name": name},
                            },
                        }
                    ],
                    "expand": EXPAND,
                },
                options={"idempotency_key": key},
            )
        except stripe.StripeError as error:
            if wait is not None and _replayed_fault(error):
                key += ":again"
            elif wait is not None and error.http_status == TWIN_UNDER_WAY:
                await asyncio.sleep(wait)  # the twin's end is Stripe's to know: there is nothing here to await
            else:
                raise _translated(error, "create_session") from error
        else:
            return checkout_of(created.to_dict())
    raise StripeUnavailable  # pragma: no cover  # the last turn of the loop returns or raises


async def fetch_session(session_id: str) -> Checkout:
    """What Stripe knows now. Raises UnknownCheckout, StripeUnavailable, StripeRefused.

    Asked for each event, so as plain JSON: the SDK's objects, made and unmade, cost more than the request.
    """
    try:
        told = await _client().raw_request_async("get", f"/v1/checkout/sessions/{quote(session_id)}", expand=EXPAND)
    except stripe.StripeError as error:
        raise _translated(error, "fetch_session") from error
    return checkout_of(told.data)


async def expire_session(session_id: str) -> None:
    """Have nobody pay by this page any more; one that is paid or expired already stays as it is.

    Raises UnknownCheckout, StripeUnavailable.
    """
    try:
        await _client().v1.checkout.sessions.expire_async(session_id)
    except stripe.StripeError as error:
        translated = _translated(error, "expire_session")
        if not isinstance(translated, StripeRefused):
            raise translated from error


async def forget_customer(session_id: str) -> bool:
    """Delete the customer that a Checkout session hangs on; whether there was one. We make none, but Stripe may be set
    to. Raises StripeUnavailable, StripeRefused.
    """
    try:
        told = await _client().v1.checkout.sessions.retrieve_async(session_id)
        customer = told.to_dict().get("customer")
        if not isinstance(customer, str):
            return False
        await _client().v1.customers.delete_async(customer)
    except stripe.StripeError as error:
        translated = _translated(error, "forget_customer")
        if not isinstance(translated, UnknownCheckout):
            raise translated from error
        return False  # it is gone already, or Stripe has forgotten the session
    return True


async def purchase_named_by(payment_intent: str) -> str | None:
    """Which purchase a payment was made for, as we told Stripe then. Raises UnknownPayment, StripeUnavailable."""
    try:
        intent = await _client().v1.payment_intents.retrieve_async(payment_intent)
    except stripe.StripeError as error:
        raise _translated(error, "fetch_intent", missing=UnknownPayment) from error
    named = (intent.to_dict().get("metadata") or {}).get("purchase")
    return named if isinstance(named, str) else None


async def refund(refund_id: UUID, *, payment_intent: str, amount_minor: int) -> None:
    """Have Stripe give money back, once for each of our refunds. Raises StripeRefused, StripeUnavailable.

    A 500 to an idempotency key is repeated for a day: a further key is used only when Stripe answers so, which is
    only after an earlier attempt, and the caller has looked since whether Stripe made the refund all the same.
    """
    for key in (f"refund:{refund_id}", f"refund:{refund_id}:again"):
        try:
            await _client().v1.refunds.create_async(
                params={
                    "payment_intent": payment_intent,
                    "amount": amount_minor,
                    "reason": "requested_by_customer",
                    "metadata": {"refund": str(refund_id)},
                },
                options={"idempotency_key": key},
            )
        except stripe.StripeError as error:
            if not _replayed_fault(error) or key.endswith(":again"):
                raise _translated(error, "refund", missing=StripeRefused) from error
        else:
            return


async def refunds_of(payment_intent: str) -> tuple[RefundFacts, ...]:
    """All refunds of a payment. Raises StripeUnavailable, StripeRefused."""
    listed = _client().v1.refunds.list_async
    return tuple([one async for one in _all(listed, refund_of, payment_intent=payment_intent)])


async def disputes_of(payment_intent: str) -> tuple[DisputeFacts, ...]:
    """All disputes of a payment. Raises StripeUnavailable, StripeRefused."""
    listed = _client().v1.disputes.list_async
    return tuple([one async for one in _all(listed, dispute_of, payment_intent=payment_intent)])


def sessions_since(since: datetime) -> AsyncIterator[Checkout]:
    """The Checkout sessions made since; of their payments and lines nothing but the ids."""
    return _all(_client().v1.checkout.sessions.list_async, checkout_of, created=_from(since))


def refunds_since(since: datetime) -> AsyncIterator[RefundFacts]:
    return _all(_client().v1.refunds.list_async, refund_of, created=_from(since))


def disputes_since(since: datetime) -> AsyncIterator[DisputeFacts]:
    return _all(_client().v1.disputes.list_async, dispute_of, created=_from(since))


async def _all(listed: Any, read: Callable[[dict[str, Any]], Facts], **asked: object) -> AsyncIterator[Facts]:
    """Every page of a list, read while it comes."""
    try:
        page = await listed(params={"limit": PAGE, **asked})
        async for one in page.auto_paging_iter():
            yield read(one.to_dict())
    except stripe.StripeError as error:
        raise _translated(error, listed.__qualname__) from error


def _from(since: datetime) -> dict[str, int]:
    return {"gte": int(since.timestamp())}


def verified_event(body: bytes, signature: str, *, now: float | None = None) -> dict[str, Any]:
    """The event in `body`, if Stripe signed these very bytes lately.

    signature: the Stripe-Signature header
    now: seconds since 1970, the clock if not given
    Raises ForgedEvent for whatever else it is, OtherApiVersion for a true event that we cannot be sure to read.
    """
    if not any(_signed(body, signature, secret) for secret in secrets.valid(Secret.STRIPE_WEBHOOK_SECRET)):
        raise ForgedEvent
    signed_at = int(next(part[2:] for part in signature.split(",") if part.startswith("t=")))
    if abs((time.time() if now is None else now) - signed_at) > TOLERANCE:
        raise ForgedEvent  # the SDK's own check takes any time to come
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ForgedEvent from error
    if not _is_event(event) or b"\\u0000" in body:  # PostgreSQL keeps no NUL, and Stripe takes none
        raise ForgedEvent
    if event["api_version"] != API_VERSION:
        logger.error("stripe_event_of_other_version", event_id=event["id"], version=str(event["api_version"])[:50])
        raise OtherApiVersion(version=event["api_version"])
    return cast("dict[str, Any]", event)


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, signature, secret)  # the age is checked by the caller
    except (stripe.SignatureVerificationError, UnicodeError, TypeError):
        return False  # a signature of letters beyond ASCII is a TypeError in the SDK's comparison
    return True


def _is_event(event: object) -> bool:
    return (
        isinstance(event, dict)
        and event.get("object") == "event"
        and all(isinstance(event.get(key), str) and event[key] for key in ("id", "type"))
        and "api_version" in event
        and isinstance(event.get("data"), dict)
        and isinstance(event["data"].get("object"), dict)
    )


def _replayed_fault(error: stripe.StripeError) -> bool:
    headers = httpx.Headers(error.headers or {})
    return (error.http_status or 0) >= 500 and headers.get("idempotent-replayed") == "true"


def _translated(error: stripe.StripeError, call: str, *, missing: type[ClofyError] = UnknownCheckout) -> ClofyError:
    """Our word for Stripe's. What a good key, or time, may heal is worth another try; the rest is not."""
    facts = {"call": call, "error": type(error).__name__, "status": error.http_status, "code": error.code}
    ours = isinstance(error, stripe.AuthenticationError | stripe.PermissionError)
    (logger.error if ours else logger.warning)("stripe_call_failed", request_id=error.request_id, **facts)
    if error.code == "resource_missing":
        return missing(**facts)
    busy = error.http_status in {429, TWIN_UNDER_WAY}
    if ours or busy or isinstance(error, stripe.APIConnectionError) or (error.http_status or 0) >= 500:
        unavailable = StripeUnavailable(**facts)
        unavailable.retry_after = _seconds(httpx.Headers(error.headers or {}).get("retry-after"))
        return unavailable
    return StripeRefused(**facts)


def _seconds(header: str | None) -> float | None:
    try:
        return min(max(float(header or ""), 0), 3600)
    except ValueError:
        return None
