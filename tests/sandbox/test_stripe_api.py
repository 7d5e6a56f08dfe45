"""The stand-in of Stripe, spoken to by the vendor's SDK."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from sandbox.standins import StandIns
from tests.sandbox.conftest import Receiver


@pytest.fixture
def client(standins: StandIns, control: httpx.AsyncClient) -> stripe.StripeClient:
    addresses: Any = {"api": standins.stripe_url}
    return stripe.StripeClient(standins.stripe_key, base_addresses=addresses, max_network_retries=0)


def session_params(**more: Any) -> Any:
    price = {"currency": "eur", "unit_amount": 990, "product_data": {"name": "100 credits"}}
    return {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 2}],
        "success_url": "http://127.0.0.1/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1/cancelled",
        "client_reference_id": "purchase-1",
        "metadata": {"purchase": "1"},
        **more,
    }


def make_session(client: stripe.StripeClient, **more: Any) -> stripe.checkout.Session:
    return client.v1.checkout.sessions.create(params=session_params(**more))


async def pay(control: httpx.AsyncClient, session: stripe.checkout.Session, method: str = "card") -> Any:
    answer = await control.post(f"/pay/{session.id}/complete", json={"method": method})
    return answer.raise_for_status().json()


async def test_a_session_is_opened_paid_and_read_back_with_its_money(
    client: stripe.StripeClient, control: httpx.AsyncClient
) -> None:
    session = make_session(client, customer_email="payer@example.com")
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 1980)

    done = await pay(control, session)

    assert done["redirect"] == f"http://127.0.0.1/done?session={session.id}"
    expand: Any = {"expand": ["line_items", "payment_intent.latest_charge.balance_transaction"]}
    paid: Any = client.v1.checkout.sessions.retrieve(session.id, params=expand)
    assert (paid.status, paid.payment_status, paid.metadata["purchase"]) == ("complete", "paid", "1")
    assert paid.line_items.data[0].description == "100 credits"
    charge = paid.payment_intent.latest_charge
    assert (charge.amount, charge.balance_transaction.net) == (1980, 1980 - charge.balance_transaction.fee)


async def test_a_key_gives_the_first_answer_again_and_refuses_other_parameters(client: stripe.StripeClient) -> None:
    options: Any = {"idempotency_key": "key-1"}

    first = client.v1.checkout.sessions.create(params=session_params(), options=options)
    again = client.v1.checkout.sessions.create(params=session_params(), options=options)

    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        client.v1.checkout.sessions.create(params=session_params(client_reference_id="2"), options=options)


async def test_an_answer_that_was_lost_is_had_by_asking_again_with_the_same_key(
    client: stripe.StripeClient, control: httpx.AsyncClient
) -> None:
    options: Any = {"idempotency_key": "key-lost"}
    count = len(client.v1.checkout.sessions.list(params={"limit": 100}).data)
    fail = {"status": 503, "executed": True, "match": "checkout"}
    await control.patch("/control", json={"stripe": {"fail": fail}})

    with pytest.raises(stripe.APIError):
        client.v1.checkout.sessions.create(params=session_params(), options=options)
    again = client.v1.checkout.sessions.create(params=session_params(), options=options)

    assert again.status == "open"
    assert len(client.v1.checkout.sessions.list(params={"limit": 100}).data) == count + 1


async def test_errors_come_as_the_sdk_knows_them(client: stripe.StripeClient, standins: StandIns) -> None:
    addresses: Any = {"api": standins.stripe_url}
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("sk_test_wrong", base_addresses=addresses).v1.events.list()
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.checkout.sessions.retrieve("cs_test_nothing")
    assert missing.value.code == "resource_missing"
    assert missing.value.request_id is not None
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: sucess_url"):
        make_session(client, sucess_url="x")
    with pytest.raises(stripe.InvalidRequestError, match=r"Missing required param: line_items"):
        make_session(client, line_items=[])


async def test_lists_page_from_the_newest(client: stripe.StripeClient) -> None:
    made = [make_session(client).id for _ in range(5)]

    listed = [one.id for one in client.v1.checkout.sessions.list(params={"limit": 2}).auto_paging_iter()]

    assert listed[:5] == made[::-1]


async def test_a_payment_is_told_by_signed_webhooks(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    session = make_session(client)

    await pay(control, session)

    told = await receiver.next(4)
    assert set(told) == {
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    }
    kept = client.v1.events.list(params={"type": "checkout.session.completed"}).data[0]
    assert kept.data.object["id"] == session.id


async def test_a_webhook_that_is_not_taken_comes_again(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"retry_ms": 20}})
    receiver.answers = [500, 503]
    make_customer: Any = {"email": "a@example.com"}

    client.v1.customers.create(params=make_customer)

    assert await receiver.next(3) == ["customer.created"] * 3
    async with asyncio.timeout(5):
        while (await control.get("/control")).json()["stripe"]["stats"]["delivered"] == 0:
            pass
    event = client.v1.events.list(params={"type": "customer.created"}).data[0]
    assert event.pending_webhooks == 0


async def test_webhooks_may_be_held_back_and_doubled(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"webhooks": "off"}})
    client.v1.customers.create()
    assert (await control.get("/control")).json()["stripe"]["stats"]["attempts"] == 0

    await control.patch("/control", json={"stripe": {"webhooks": "doubled"}})

    assert await receiver.next(2) == ["customer.created"] * 2


async def test_webhooks_may_come_in_another_order(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"webhooks": "shuffled", "window_ms": 50}})

    await pay(control, make_session(client))

    told = await receiver.next(4)
    made = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"]
    assert told != made
    assert sorted(told) == sorted(made)


async def test_reset_drops_what_was_held_back(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"webhooks": "off"}})
    client.v1.customers.create()

    await control.post("/control/reset")
    await control.patch("/control", json={"stripe": {"webhook_url": receiver.url}})
    make_session(client)
    await control.post(f"/control/stripe/sessions/{make_session(client).id}/expire")

    assert await receiver.next() == ["checkout.session.expired"]


async def test_a_delayed_payment_is_paid_when_it_is_settled(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"settle_after_ms": None}})
    session = make_session(client)

    await pay(control, session, "delayed")
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "unpaid"
    await control.post(f"/control/stripe/sessions/{session.id}/settle", json={"succeeds": True})

    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert "checkout.session.async_payment_succeeded" in await receiver.next(6)


async def test_a_delayed_payment_may_fail(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    await control.patch("/control", json={"stripe": {"settle_after_ms": None}})
    session = make_session(client)

    await pay(control, session, "delayed")
    await control.post(f"/control/stripe/sessions/{session.id}/settle", json={"succeeds": False})
    again = await control.post(f"/control/stripe/sessions/{session.id}/settle", json={"succeeds": True})

    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "unpaid"
    assert "checkout.session.async_payment_failed" in await receiver.next(5)
    assert again.status_code == 400


async def test_a_declined_card_leaves_the_session_open(client: stripe.StripeClient, control: httpx.AsyncClient) -> None:
    session = make_session(client)

    await pay(control, session, "declined")
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    await pay(control, session)

    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


async def test_a_session_is_paid_once_and_not_after_it_expired(
    client: stripe.StripeClient, control: httpx.AsyncClient
) -> None:
    paid, expired = make_session(client), make_session(client)
    await pay(control, paid)
    client.v1.checkout.sessions.expire(expired.id)

    for session in (paid, expired):
        answer = await control.post(f"/pay/{session.id}/complete", json={})
        assert answer.status_code == 400


async def test_refunds_add_up_to_the_charge_and_not_more(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    paid = (await pay(control, make_session(client)))["session"]
    await receiver.next(4)

    params: Any = {"payment_intent": paid["payment_intent"], "amount": 980}
    assert client.v1.refunds.create(params=params).status == "succeeded"
    assert set(await receiver.next(3)) == {"charge.refunded", "refund.created", "refund.updated"}
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        client.v1.refunds.create(params=params | {"amount": 1001})
    client.v1.refunds.create(params={"payment_intent": paid["payment_intent"]})
    with pytest.raises(stripe.InvalidRequestError) as over:
        client.v1.refunds.create(params={"payment_intent": paid["payment_intent"]})

    assert over.value.code == "charge_already_refunded"
    charge = client.v1.charges.list(params={"payment_intent": paid["payment_intent"]}).data[0]
    assert (charge.amount_refunded, charge.refunded) == (1980, True)


@pytest.mark.parametrize(("currency", "amount", "wrong"), [("kwd", 1_250, 1_255), ("ugx", 500, 550), ("isk", 500, 501)])
async def test_amounts_have_no_more_digits_than_their_currency(
    client: stripe.StripeClient, control: httpx.AsyncClient, currency: str, amount: int, wrong: int
) -> None:
    def lines(unit_amount: int) -> Any:
        price = {"currency": currency, "unit_amount": unit_amount, "product_data": {"name": "100 credits"}}
        return [{"price_data": price, "quantity": 1}]

    paid = (await pay(control, make_session(client, line_items=lines(amount))))["session"]
    with pytest.raises(stripe.InvalidRequestError, match="Invalid amount"):
        make_session(client, line_items=lines(wrong))
    with pytest.raises(stripe.InvalidRequestError, match="Invalid amount"):
        client.v1.refunds.create(params={"payment_intent": paid["payment_intent"], "amount": 1})

    assert paid["amount_total"] == amount


async def test_a_refund_may_come_back(client: stripe.StripeClient, control: httpx.AsyncClient) -> None:
    await control.patch("/control", json={"stripe": {"refunds": "pending"}})
    paid = (await pay(control, make_session(client)))["session"]
    refund = client.v1.refunds.create(params={"payment_intent": paid["payment_intent"]})
    assert refund.status == "pending"

    await control.post(f"/control/stripe/refunds/{refund.id}/finish", json={"succeeds": False})

    assert client.v1.refunds.retrieve(refund.id).status == "failed"
    charge = client.v1.charges.list(params={"payment_intent": paid["payment_intent"]}).data[0]
    assert (charge.amount_refunded, charge.refunded) == (0, False)


async def test_a_dispute_takes_the_money_and_a_won_one_gives_it_back(
    client: stripe.StripeClient, control: httpx.AsyncClient, receiver: Receiver
) -> None:
    paid = (await pay(control, make_session(client)))["session"]
    await receiver.next(4)

    opened = await control.post("/control/stripe/disputes", json={"payment_intent": paid["payment_intent"]})
    assert set(await receiver.next(2)) == {"charge.dispute.created", "charge.dispute.funds_withdrawn"}
    name = opened.json()["id"]
    await control.post(f"/control/stripe/disputes/{name}/close", json={"status": "won"})

    assert set(await receiver.next(2)) == {"charge.dispute.funds_reinstated", "charge.dispute.closed"}
    dispute = client.v1.disputes.retrieve(name)
    assert sum(line.amount for line in dispute.balance_transactions) == 0


async def test_a_person_pays_on_a_page(
    client: stripe.StripeClient, standins: StandIns, control: httpx.AsyncClient
) -> None:
    session = make_session(client, customer_email="<payer@example.com>")
    assert session.url is not None

    shown = await control.get(session.url, headers={"accept": "text/html"})
    paid = await control.post(session.url, data={"method": "card", "email": "payer@example.com"})

    assert "19.80 EUR" in shown.text
    assert "<payer@" not in shown.text
    assert (paid.status_code, paid.headers["location"]) == (303, f"http://127.0.0.1/done?session={session.id}")
    assert session.id[:20] in (await control.get("/payments")).text


def test_what_was_paid_is_kept_when_the_sandbox_is_started_again(scratch: Path) -> None:
    addresses: Any
    with StandIns(scratch / "again") as first:
        addresses = {"api": first.stripe_url}
        session = make_session(stripe.StripeClient(first.stripe_key, base_addresses=addresses))
        httpx.post(f"{first.url}/pay/{session.id}/complete", json={}, trust_env=False).raise_for_status()

    with StandIns(scratch / "again") as second:
        addresses = {"api": second.stripe_url}
        client = stripe.StripeClient(second.stripe_key, base_addresses=addresses)
        kept = client.v1.checkout.sessions.retrieve(session.id)

    assert kept.payment_status == "paid"
