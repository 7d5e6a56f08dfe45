"""Buyers and payers for the tests of billing: real rows, committed, and payments at the stand-in of Stripe."""

import hmac
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import func, select

from core.accounts.profile import provide_account
from core.accounts.web_sessions import csrf_token, start_session, token_hash
from core.billing import bundles, purchases, refunds, stripe_api, taking_up
from core.billing.models import Purchase, Refund, StripeEvent
from core.billing.stripe_facts import Checkout, checkout_of
from core.billing.taking_up import Known, Outcome
from core.credits import ledger
from core.credits.models import CreditEntry
from core.database import transaction
from core.jobs import Job
from core.mail.models import Delivery
from core.settings import Secret, settings

RETURN_URLS = {"success_url": "http://localhost/credits/return", "cancel_url": "http://localhost/credits"}


async def make_buyer() -> UUID:
    """A verified account that nobody else's test knows."""
    async with transaction() as session:
        return await provide_account(
            session, email=f"{uuid4().hex}@clofy.example", password_hash="none", name="Ada Byron"
        )


async def make_purchase(*, bundle: str = "starter", buyer: UUID | None = None) -> tuple[Purchase, Checkout]:
    """A purchase with its page at Stripe, not paid yet."""
    buyer = buyer or await make_buyer()
    async with transaction() as session:
        purchase = await purchases.start(session, account_id=buyer, bundle=bundle, attempt_key=str(uuid4()))
    checkout = await stripe_api.create_session(purchase, name=bundles.name_of(bundle), **RETURN_URLS)
    async with transaction() as session:
        await purchases.attach(session, purchase.id, checkout)
    return purchase, checkout


async def make_paid(*, bundle: str = "starter") -> tuple[Purchase, Checkout]:
    """A purchase that was paid at Stripe, which we have not heard of."""
    purchase, checkout = await make_purchase(bundle=bundle)
    await pay(checkout.id)
    return purchase, await stripe_api.fetch_session(checkout.id)


async def make_otherwise(*, attached: bool = True, **sold: Any) -> tuple[Purchase, str]:
    """A purchase whose session at Stripe sold something else, and was paid. Not `attached`: we do not know the session.

    sold: as `session_at_stripe` takes it
    """
    async with transaction() as session:
        purchase = await purchases.start(
            session, account_id=await make_buyer(), bundle="starter", attempt_key=str(uuid4())
        )
    told = await session_at_stripe(purchase, **sold)
    if attached:
        async with transaction() as session:
            await purchases.attach(session, purchase.id, checkout_of(told))
    await pay(told["id"])
    return purchase, told["id"]


async def session_at_stripe(
    purchase: Purchase,
    *,
    quantity: int = 1,
    amount_minor: int = 500,
    currency: str = "usd",
    reference: str | None = None,
    named: str | None = None,
) -> dict[str, Any]:
    """A session for a purchase as we would never open it."""
    price = "line_items[0][price_data]"
    form = {
        "mode": "payment",
        "success_url": RETURN_URLS["success_url"],
        "client_reference_id": reference or str(purchase.id),
        "metadata[purchase]": named or str(purchase.id),
        "payment_intent_data[metadata][purchase]": named or str(purchase.id),
        "line_items[0][quantity]": str(quantity),
        f"{price}[currency]": currency,
        f"{price}[unit_amount]": str(amount_minor),
        f"{price}[product_data][name]": "Starter",
    }
    told: dict[str, Any] = await at_stripe("POST", "/v1/checkout/sessions", form=form)
    return told


async def payment_at_stripe(purchase: Purchase, *, named: str | None = None) -> str:
    """A payment by a session that we did not open, which names a purchase."""
    session_id = (await session_at_stripe(purchase, named=named))["id"]
    await pay(session_id)
    return str((await at_stripe("GET", f"/v1/checkout/sessions/{session_id}"))["payment_intent"])


async def know(purchase: Purchase) -> Known:
    async with transaction() as session:
        known = await taking_up.know(session, purchase.id)
    assert known is not None
    return known


async def bring_up_to_date(purchase: Purchase) -> Outcome:
    return await taking_up.bring_up_to_date(await know(purchase))


async def make_credited(*, bundle: str = "starter") -> tuple[Purchase, str]:
    """A purchase that was paid and credited, and the payment's name at Stripe."""
    purchase, checkout = await make_paid(bundle=bundle)
    assert await bring_up_to_date(purchase) == Outcome.CREDITED
    assert checkout.payment_intent is not None
    return purchase, checkout.payment_intent


async def refund_at_stripe(payment_intent: str, amount_minor: int, **more: Any) -> str:
    """Somebody gives money back at Stripe. Returns the refund's name there."""
    given = {"payment_intent": payment_intent, "amount": amount_minor, **more}
    return str((await at_stripe("POST", "/control/stripe/refunds", given))["id"])


async def dispute_at_stripe(payment_intent: str, **more: Any) -> str:
    """The payer's bank disputes a payment. Returns the dispute's name."""
    return str((await at_stripe("POST", "/control/stripe/disputes", {"payment_intent": payment_intent, **more}))["id"])


async def close_dispute(dispute_id: str, status: str) -> None:
    await at_stripe("POST", f"/control/stripe/disputes/{dispute_id}/close", {"status": status})


async def ask_for_refund(purchase: Purchase) -> Refund:
    async with transaction() as session:
        locked = await refunds.lock(session, purchase.id, account_id=purchase.account_id)
        return await refunds.request(session, locked, now=datetime.now(UTC))


async def use(purchase: Purchase, amount_mc: int) -> None:
    """As an answer uses credits: held, then taken."""
    async with transaction() as session:
        hold_id, _ = await ledger.hold(
            session,
            account_id=purchase.account_id,
            at_least_mc=amount_mc,
            at_most_mc=amount_mc,
            source=f"test:{uuid4()}",
        )
        await ledger.settle(session, hold_id=hold_id, cost_mc=amount_mc)


async def balance_mc(purchase: Purchase) -> int:
    async with transaction() as session:
        return (await ledger.balance(session, account_id=purchase.account_id)).balance_mc


async def letters_of(purchase: Purchase) -> list[str]:
    """Which mails the buyer was written, by their templates, in the order of writing."""
    async with transaction() as session:
        mails = (
            select(Delivery.template).where(Delivery.account_id == purchase.account_id).order_by(Delivery.created_at)
        )
        return list(await session.scalars(mails))


async def sign_in(account_id: UUID) -> dict[str, str]:
    """The headers of a browser that is signed in."""
    async with transaction() as session:
        token = await start_session(session, account_id=account_id, user_agent="tests", ip="127.0.0.1", factor="totp")
    secure = settings().public_url.startswith("https:")
    name = "__Host-clofy" if secure else "clofy"
    return {"Cookie": f"{name}={token}", "X-CSRF-Token": csrf_token(token_hash(token)), "Host": host()}


def host() -> str:
    return settings().public_url.split("//")[1]


async def at_stripe(
    method: str, path: str, body: dict[str, Any] | None = None, *, form: dict[str, str] | None = None
) -> Any:
    """What payers, banks and operators do at the stand-in."""
    key = settings().stripe_api_key.get_secret_value()
    async with httpx.AsyncClient(
        base_url=settings().stripe_api_base, headers={"Authorization": f"Bearer {key}"}
    ) as web:
        answer = await web.request(method, path, json=body, data=form)
    assert answer.is_success, answer.text
    return answer.json()


async def pay(session_id: str, method: str = "card") -> None:
    await at_stripe("POST", f"/control/stripe/sessions/{session_id}/pay", {"method": method})


async def turn(**knobs: Any) -> None:
    """Turn the knobs of the stand-in of Stripe; none: as at the start."""
    if knobs:
        await at_stripe("PATCH", "/control", {"stripe": knobs})
    else:
        await at_stripe("POST", "/control/reset")


async def stripe_requests() -> int:
    told = await at_stripe("GET", "/control")
    return int(told["stripe"]["stats"]["requests"])


def make_event(about: str, kind: str = "checkout.session.completed") -> dict[str, Any]:
    """An event about a session, or a payment. It says nothing but the name of that, for nothing else is believed."""
    is_session = kind.startswith("checkout.")
    told = {"id": about, "object": "checkout.session"} if is_session else {"id": "x_1", "payment_intent": about}
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "api_version": stripe_api.API_VERSION,
        "created": int(time.time()),
        "data": {"object": told},
        "livemode": False,
        "type": kind,
    }


def signed(event: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A body as Stripe sends it, and its headers."""
    body, at = json.dumps(event, indent=2).encode(), int(time.time())
    code = hmac.digest(settings().given(Secret.STRIPE_WEBHOOK_SECRET)[0].encode(), b"%d." % at + body, "sha256").hex()
    return body, {"Stripe-Signature": f"t={at},v1={code}", "Content-Type": "application/json", "Host": host()}


@dataclass(frozen=True)
class Effects:
    """What there is of a purchase."""

    state: str
    balance_mc: int
    entries: int
    receipts: int


async def effects(purchase: Purchase) -> Effects:
    async with transaction() as session:
        state = await session.scalar(select(Purchase.state).where(Purchase.id == purchase.id))
        entries = select(func.count()).where(CreditEntry.source == f"purchase:{purchase.id}")
        receipts = select(func.count()).where(Job.key == f"receipt:{purchase.id}")
        assert state is not None
        return Effects(
            state=state,
            balance_mc=(await ledger.balance(session, account_id=purchase.account_id)).balance_mc,
            entries=(await session.scalars(entries)).one(),
            receipts=(await session.scalars(receipts)).one(),
        )


async def jobs_with_key(key: str) -> list[Job]:
    async with transaction() as session:
        return list(await session.scalars(select(Job).where(Job.key == key)))


async def events_kept(event_id: str) -> list[StripeEvent]:
    async with transaction() as session:
        return list(await session.scalars(select(StripeEvent).where(StripeEvent.id == event_id)))
