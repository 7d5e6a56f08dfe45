"""Buying credits, and Stripe's webhook."""

from typing import Any
from uuid import UUID, uuid4

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.billing import bundles, purchases, stripe_api, stripe_events, taking_up
from core.billing.models import Purchase
from core.billing.money import format_money
from core.billing.taking_up import Known
from core.database import transaction
from core.errors import ClofyError, InvalidInput, Unavailable
from core.settings import settings
from web.inputs import Input, Line, body_limit, takes
from web.openapi import AFTER_ID, answers, query
from web.replay import attempt_key
from web.session import anyone, signed_in, webhook
from web.shapes import Bundles, CheckoutFacts, PurchaseFacts, Purchases

EVENT_LIMIT = 256 * 1024  # bytes, security.md 105
ASKING = 3  # seconds that a polling page waits for Stripe
PAGE = 50

blueprint = Blueprint("billing", __name__)
blueprint.after_app_serving(stripe_api.close)


class NewPurchase(Input):
    bundle: Line


@blueprint.get("/api/bundles")
@anyone
@answers(Bundles)
async def list_bundles() -> ResponseReturnValue:
    return {"bundles": listed_bundles()}


def listed_bundles() -> list[dict[str, Any]]:
    """The bundles as the API and the pages show them."""
    return [
        {
            "slug": bundle.slug,
            "name": bundle.name,
            "credits_mc": bundle.credits_mc,
            "amount_minor": bundle.amount_minor,
            "currency": bundle.currency,
            "amount": format_money(bundle.amount_minor, bundle.currency),
        }
        for bundle in bundles.BUNDLES
    ]


@blueprint.post("/api/purchases")
@signed_in
@answers(CheckoutFacts, status=201, keyed=True)
@takes(NewPurchase)
async def buy(data: NewPurchase) -> ResponseReturnValue:
    """Begin a purchase; the same Idempotency-Key gets the same one, and its page is made when Stripe answers."""
    key = attempt_key() or str(uuid4())
    async with transaction() as session:
        purchase = await purchases.start(session, account_id=g.account.id, bundle=data.bundle, attempt_key=key)
    checkout_url = purchase.checkout_url
    if checkout_url is None:
        home = settings().public_url
        checkout = await stripe_api.create_session(
            purchase,
            name=f"Clofy Cloud credits: {bundles.name_of(purchase.bundle)}",
            success_url=f"{home}/credits/return?purchase={purchase.id}",
            cancel_url=f"{home}/credits",
        )
        async with transaction() as session:
            checkout_url = await purchases.attach(session, purchase.id, checkout)
    return {"id": purchase.id, "checkout_url": checkout_url}, 201


@blueprint.get("/api/purchases")
@signed_in
@query(after=AFTER_ID)
@answers(Purchases)
async def list_purchases() -> ResponseReturnValue:
    after = _after(request.args.get("after"))
    async with transaction() as session:
        found = await purchases.page(session, account_id=g.account.id, after=after, limit=PAGE)
    return {
        "purchases": [shown(purchase) for purchase in found],
        "next": found[-1].id if len(found) == PAGE else None,
    }


@blueprint.get("/api/purchases/<uuid:purchase_id>")
@signed_in
@answers(PurchaseFacts)
async def show_purchase(purchase_id: UUID) -> ResponseReturnValue:
    """What became of a purchase. While it waits, Stripe itself is asked: the webhook may be late, or never come."""
    known = None
    async with transaction() as session:
        purchase = await purchases.get(session, purchase_id, account_id=g.account.id)
        if await purchases.turn_to_ask(session, purchase_id):
            known = await taking_up.know(session, Purchase.id == purchase_id)
    if known is not None:
        await _ask_stripe(known)
        async with transaction() as session:
            purchase = await purchases.get(session, purchase_id, account_id=g.account.id)
    return shown(purchase)


async def _ask_stripe(known: Known) -> None:
    """Take up what Stripe says; if it does not answer in time, a worker asks again."""
    try:
        await taking_up.bring_up_to_date(known, patience=ASKING)
    except (TimeoutError, Unavailable):
        async with transaction() as session:
            await purchases.credit_later(session, known.purchase_id)
    except ClofyError:
        return  # logged where it was seen; the page shows the purchase as it is


@blueprint.post("/webhooks/stripe")
@webhook
@answers(None, status=204, problems=(413,))
@body_limit(EVENT_LIMIT)
async def receive_stripe_event() -> ResponseReturnValue:
    """Verify, keep, answer. Crediting is the worker's: Stripe gets its 2xx in milliseconds."""
    signature = request.headers.get("Stripe-Signature", "")
    body = await request.get_data()
    assert isinstance(body, bytes)
    event = stripe_api.verified_event(body, signature)
    async with transaction() as session:
        await stripe_events.record(session, event)
    return "", 204


def shown(purchase: Purchase) -> dict[str, Any]:
    """A purchase as its buyer sees it."""
    return {
        "id": purchase.id,
        "bundle": purchase.bundle,
        "bundle_name": bundles.name_of(purchase.bundle),
        "credits_mc": purchase.credits_mc,
        "amount_minor": purchase.amount_minor,
        "currency": purchase.currency,
        "amount": format_money(purchase.amount_minor, purchase.currency),
        "state": purchase.state,
        "created_at": purchase.created_at,
        "paid_at": purchase.paid_at,
    }


def _after(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidInput(field="after", rule="must be the id of a purchase") from None
