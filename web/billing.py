"""Buying credits, and Stripe's webhook."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core import limits
from core.billing import bundles, purchases, refunds, stripe_api, stripe_events, stripe_facts, taking_up
from core.billing.models import Dispute, Purchase, Refund
from core.billing.money import format_money
from core.billing.receipts import shown_number
from core.billing.refunds import Overview, Refusal, overviews
from core.billing.taking_up import Known
from core.database import transaction
from core.direct import direct
from core.errors import ClofyError, InvalidInput, Unavailable
from core.privacy import engagements
from core.settings import settings
from web.callers import caller
from web.inputs import Input, Line, body_limit, takes
from web.openapi import AFTER_ID, answers, query
from web.replay import attempt_key, once
from web.session import anyone, signed_in, webhook
from web.shapes import Bundles, CheckoutFacts, PurchaseFacts, Purchases, RefundAsked

EVENT_LIMIT = 256 * 1024  # bytes, security.md 105
ASKING = 3  # seconds that a polling page waits for Stripe
PAGE = 50

blueprint = Blueprint("billing", __name__)
blueprint.after_app_serving(stripe_api.close)


class NewPurchase(Input):
    bundle: Line
    currency: Line = bundles.DEFAULT


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
            "currency": bundles.DEFAULT,
            "amount": format_money(bundle.amount_minor, bundles.DEFAULT),
            "prices": {
                currency: {"amount_minor": amount_minor, "amount": format_money(amount_minor, currency)}
                for currency, amount_minor in bundle.prices.items()
            },
        }
        for bundle in bundles.BUNDLES
    ]


@blueprint.post("/api/purchases")
@signed_in
@answers(CheckoutFacts, status=201, keyed=True, problems=(429,))
@takes(NewPurchase)
async def buy(data: NewPurchase) -> ResponseReturnValue:
    """Begin a purchase; the same Idempotency-Key gets the same one, and its page is made when Stripe answers."""
    key = attempt_key() or str(uuid4())
    await engagements.check_agreed(account_id=g.account.id, now=datetime.now(UTC))
    tried = await limits.admit(purchases.BEGIN, account=str(g.account.id), ip="")
    async with transaction() as session:
        purchase = await purchases.start(
            session, account_id=g.account.id, bundle=data.bundle, currency=data.currency, attempt_key=key
        )
        if purchase.checkout_url is not None:
            await limits.succeeded(session, tried)  # the same click again is no further try
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
        shown = await overviews(session, found, now=datetime.now(UTC))
    return {
        "purchases": [described(one) for one in shown],
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
            known = await taking_up.know(session, purchase_id)
        else:
            return await shown(session, purchase)
    if known is not None:
        await _ask_stripe(known)
    async with transaction() as session:
        return await shown(session, await purchases.get(session, purchase_id, account_id=g.account.id))


async def _ask_stripe(known: Known) -> None:
    """Take up what Stripe says; if it does not answer in time, a worker asks again."""
    try:
        await taking_up.bring_up_to_date(known, patience=ASKING)
    except (TimeoutError, Unavailable):
        async with transaction() as session:
            await purchases.credit_later(session, known.purchase_id)
    except ClofyError:
        return  # logged where it was seen; the page shows the purchase as it is


@blueprint.post("/api/purchases/<uuid:purchase_id>/refund")
@signed_in
@answers(RefundAsked, status=202, keyed=True, problems=(404, 409))
async def ask_for_refund(purchase_id: UUID) -> ResponseReturnValue:
    """Give the unused part of a purchase back: its credits at once, the money by a job."""

    @asynccontextmanager
    async def locked() -> AsyncIterator[AsyncSession]:
        async with transaction() as session:
            await refunds.lock(session, purchase_id, account_id=g.account.id)
            yield session

    async def create(session: AsyncSession) -> dict[str, Any]:
        purchase = await purchases.get(session, purchase_id, account_id=g.account.id)
        refund = await refunds.request(session, purchase, now=datetime.now(UTC), caller=caller())
        return {"refund": _refund(purchase, refund)}

    return await once(create, locked), 202


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
    async with direct() as unit:
        await stripe_events.record(unit, event)
    return "", 204


async def shown(session: AsyncSession, purchase: Purchase) -> dict[str, Any]:
    """A purchase as its buyer sees it."""
    [one] = await overviews(session, [purchase], now=datetime.now(UTC))
    return described(one)


def described(one: Overview) -> dict[str, Any]:
    purchase, verdict = one.purchase, one.verdict
    return {
        "id": purchase.id,
        "bundle": purchase.bundle,
        "bundle_name": bundles.name_of(purchase.bundle),
        "credits_mc": purchase.credits_mc,
        **_money(purchase, purchase.amount_minor),
        "currency": purchase.currency,
        "state": purchase.state,
        "created_at": purchase.created_at,
        "paid_at": purchase.paid_at,
        "receipt": None if one.receipt is None else shown_number(one.receipt),
        "reversed_minor": purchase.reversed_minor,
        "reversed": format_money(purchase.reversed_minor, purchase.currency),
        "refunds": [_refund(purchase, refund) for refund in one.returns.refunds],
        "disputes": [_dispute(purchase, dispute) for dispute in one.returns.disputes],
        "refundable": None
        if isinstance(verdict, Refusal)
        else {**_money(purchase, verdict.amount_minor), "credits_mc": verdict.credits_mc},
        "refund_refused": {"reason": verdict, "sentence": verdict.sentence} if isinstance(verdict, Refusal) else None,
    }


def _money(purchase: Purchase, amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "amount": format_money(amount_minor, purchase.currency)}


def _refund(purchase: Purchase, refund: Refund) -> dict[str, Any]:
    return {
        "id": str(refund.id),  # it is kept as JSON, which knows no UUID of the driver
        **_money(purchase, refund.amount_minor),
        "credits_mc": purchase.credits_of(refund.amount_minor),
        "state": refund.state,
        "by": refund.origin,
        "failure": refund.failure,
        "created_at": refund.created_at,
    }


def _dispute(purchase: Purchase, dispute: Dispute) -> dict[str, Any]:
    return {
        **_money(purchase, dispute.amount_minor),
        "status": dispute.status,
        "holds_back": stripe_facts.takes(dispute.status),
        "decided": not stripe_facts.is_open(dispute.status),
        "created_at": dispute.created_at,
    }


def _after(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidInput(field="after", rule="must be the id of a purchase") from None
