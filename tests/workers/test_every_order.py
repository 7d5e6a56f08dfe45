"""Some orders of tests/core/billing/test_every_order.py as Stripe delivers them: signed, over HTTP, each twice."""

import itertools
from typing import Any

import pytest
from quart.typing import TestClientProtocol as Client

from core.queue import TaskName
from tests.core.billing.kit import (
    at_stripe,
    balance_mc,
    close_dispute,
    dispute_at_stripe,
    make_purchase,
    pay,
    refund_at_stripe,
    signed,
    turn,
)
from tests.workers.here import Here

ORDERS = list(itertools.permutations(range(6)))[::101]
TOLD = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.closed",
)


async def deliver(here: Here, client: Client, event: dict[str, Any]) -> None:
    body, headers = signed(event)
    for _ in range(2):
        assert (await client.post("/webhooks/stripe", data=body, headers=headers)).status_code == 204
    await here.work_off(TaskName.HANDLE_STRIPE_EVENT, keys=[f"stripe:{event['id']}"])


@pytest.mark.parametrize("ends", ["won", "lost"])
@pytest.mark.parametrize("live", [True, False], ids=["each-as-it-happens", "all-afterwards"])
async def test_events_in_any_order_end_where_stripes_books_are(
    here: Here, client: Client, ends: str, live: bool
) -> None:
    """As it happens: the first events of an order come while the rest has not happened yet."""
    await turn(webhooks="off")
    try:
        for order in ORDERS[:2] if live else ORDERS[2:4]:
            purchase, checkout = await make_purchase()
            await pay(checkout.id, "delayed")
            payment = (await at_stripe("GET", f"/v1/checkout/sessions/{checkout.id}"))["payment_intent"]
            await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": True})
            await refund_at_stripe(payment, 100)
            if live:
                for event in (await events_of(checkout.id, payment))[::-1]:
                    await deliver(here, client, event)
            await refund_at_stripe(payment, 150)
            await close_dispute(await dispute_at_stripe(payment), ends)

            told = await events_of(checkout.id, payment)
            assert len(told) == 6
            for number in order:
                await deliver(here, client, told[number])

            assert await balance_mc(purchase) == (250_000 if ends == "won" else 0)
    finally:
        await turn()


async def events_of(session_id: str, payment: str) -> list[dict[str, Any]]:
    """The events of a purchase, oldest first."""
    found: list[dict[str, Any]] = []
    for kind in TOLD:
        listed = (await at_stripe("GET", f"/v1/events?type={kind}&limit=100"))["data"]
        objects = [(one, one["data"]["object"]) for one in listed]
        found += [
            one for one, about in objects[::-1] if session_id == about["id"] or payment == about.get("payment_intent")
        ]
    return found
