"""Forged meaning under a true signature: whatever an event claims, nothing is granted that was not paid as we sold it,
somebody is alarmed, and Stripe is answered as ever.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import update

from core.billing.models import Purchase
from core.database import transaction
from core.queue import TaskName
from tests.core.billing.kit import (
    Effects,
    bring_up_to_date,
    effects,
    events_kept,
    make_credited,
    make_event,
    make_otherwise,
    make_paid,
    make_purchase,
    payment_at_stripe,
    refund_at_stripe,
    signed,
)
from tests.workers.here import Here

NOTHING = Effects(state="open", balance_mc=0, entries=0, receipts=0)
CREDITED = Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)


Deliver = Callable[[dict[str, Any]], Awaitable[tuple[str | None, list[str]]]]


@pytest.fixture
def deliver(here: Here, client: Client, alarms: Callable[[], list[dict[str, Any]]]) -> Deliver:
    """Send an event as Stripe does and have it handled: what came of it, and the alarms on the way."""

    async def send(event: dict[str, Any]) -> tuple[str | None, list[str]]:
        body, headers = signed(event)
        answer = await client.post("/webhooks/stripe", data=body, headers=headers)
        assert answer.status_code == 204
        await here.work_off(TaskName.HANDLE_STRIPE_EVENT, keys=[f"stripe:{event['id']}"])
        [kept] = await events_kept(event["id"])
        assert kept.handled_at is not None
        return kept.outcome, [one["event"] for one in alarms()]

    return send


@pytest.mark.parametrize(
    "sold",
    [
        {"amount_minor": 1},
        {"currency": "eur"},
        {"quantity": 2},
        {"quantity": 2, "amount_minor": 250},  # the right sum of another price
        {"reference": str(uuid4())},
        {"named": str(uuid4())},
    ],
    ids=["amount", "currency", "quantity", "price", "reference", "metadata"],
)
async def test_what_was_paid_otherwise_than_we_sold_it_grants_nothing(deliver: Deliver, sold: dict[str, Any]) -> None:
    purchase, session_id = await make_otherwise(**sold)

    outcome, alarms = await deliver(make_event(session_id))

    assert (outcome, alarms) == ("mismatched-payment", ["stripe_payment_mismatch"])
    assert await effects(purchase) == NOTHING


async def test_test_money_does_not_pay_a_real_purchase(deliver: Deliver) -> None:
    purchase, checkout = await make_paid()
    async with transaction() as session:
        await session.execute(update(Purchase).where(Purchase.id == purchase.id).values(livemode=True))

    outcome, alarms = await deliver(make_event(checkout.id))

    assert (outcome, alarms) == ("mismatched-payment", ["stripe_payment_mismatch"])
    assert await effects(purchase) == NOTHING


async def test_an_event_of_the_other_mode_is_not_even_asked_about(deliver: Deliver) -> None:
    purchase, checkout = await make_paid()

    outcome, alarms = await deliver(make_event(checkout.id) | {"livemode": True})

    assert (outcome, alarms) == ("other-mode", ["stripe_event_of_other_mode"])
    assert await effects(purchase) == NOTHING
    assert (await deliver(make_event(checkout.id)))[0] == "credited"  # the true one still counts


async def test_a_session_that_refers_to_anothers_purchase_pays_nobody(deliver: Deliver) -> None:
    """A buyer's own paid session, whose reference and metadata were made to name somebody else's dear purchase."""
    dear, dear_checkout = await make_purchase(bundle="studio")
    cheap, cheap_session = await make_otherwise(reference=str(dear.id), named=str(dear.id))

    outcome, alarms = await deliver(make_event(cheap_session))

    assert (outcome, alarms) == ("mismatched-payment", ["stripe_payment_mismatch"])
    assert [await effects(one) for one in (dear, cheap)] == [NOTHING, NOTHING]
    assert (await deliver(make_event(dear_checkout.id)))[0] == "waiting"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_paid_session_that_we_did_not_open_pays_nobody(deliver: Deliver, ours: bool) -> None:
    purchase, _ = await make_purchase()
    _, stray = await make_otherwise(reference=str(purchase.id if ours else uuid4()), attached=False)

    outcome, alarms = await deliver(make_event(stray))

    assert (outcome, alarms) == ("unknown-purchase", ["stripe_payment_without_purchase"])
    assert await effects(purchase) == NOTHING


@pytest.mark.parametrize("kind", ["checkout.session.completed", "refund.created", "charge.dispute.created"])
async def test_what_stripe_does_not_know_is_an_alarm(deliver: Deliver, kind: str) -> None:
    outcome, alarms = await deliver(make_event(f"never_{uuid4().hex}", kind))

    assert outcome in {"unknown-checkout", "unknown-payment"}
    assert alarms == ["stripe_event_of_unknown_thing"]


async def test_an_event_that_claims_a_refund_takes_nothing(deliver: Deliver) -> None:
    purchase, payment = await make_credited()
    event = make_event(payment, "charge.refunded")
    event["data"]["object"] |= {"amount": 500, "amount_refunded": 500, "refunded": True}

    outcome, alarms = await deliver(event)

    assert (outcome, alarms) == ("nothing", [])
    assert await effects(purchase) == CREDITED


async def test_a_refund_that_comes_before_its_payment_finds_the_purchase_by_the_payment(deliver: Deliver) -> None:
    purchase, checkout = await make_paid()
    assert checkout.payment_intent is not None
    await refund_at_stripe(checkout.payment_intent, 100)

    outcome, alarms = await deliver(make_event(checkout.payment_intent, "refund.created"))

    assert (outcome, alarms) == ("credited", [])
    assert await effects(purchase) == replace(CREDITED, balance_mc=400_000)
    assert (await deliver(make_event(checkout.id)))[0] == "nothing"


async def test_a_payment_that_names_a_purchase_it_did_not_pay_is_an_alarm(deliver: Deliver) -> None:
    """Somebody made a payment by hand, or another session, whose payment names this purchase; then refunds it."""
    purchase, _ = await make_credited()
    stray = await payment_at_stripe(purchase)
    await refund_at_stripe(stray, 500)

    outcome, alarms = await deliver(make_event(stray, "refund.created"))

    assert (outcome, alarms) == ("mismatched-payment", ["stripe_payment_of_another_checkout"])
    assert await effects(purchase) == CREDITED
    assert await bring_up_to_date(purchase) == "nothing"


@pytest.mark.parametrize(
    ("named", "outcome", "alarmed"),
    [
        ("order 17 of another shop", "ignored", []),
        (str(uuid4()), "unknown-purchase", ["stripe_payment_without_purchase"]),
    ],
    ids=["another shop's", "no purchase's"],
)
async def test_the_payments_of_others_are_left_alone(
    deliver: Deliver, named: str, outcome: str, alarmed: list[str]
) -> None:
    purchase = Purchase(id=uuid4(), currency="usd", amount_minor=500)

    payment = await payment_at_stripe(purchase, named=named)

    assert await deliver(make_event(payment, "charge.refunded")) == (outcome, alarmed)


async def test_an_event_of_another_version_of_the_api_is_refused_with_an_alarm(
    client: Client, alarms: Callable[[], list[dict[str, Any]]]
) -> None:
    purchase, checkout = await make_paid()
    body, headers = signed(make_event(checkout.id) | {"api_version": "2020-08-27"})

    answer = await client.post("/webhooks/stripe", data=body, headers=headers)

    assert answer.status_code == 400
    assert [one["event"] for one in alarms()] == ["stripe_event_of_other_version"]
    assert await effects(purchase) == NOTHING
