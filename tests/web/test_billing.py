"""Buying over HTTP; webhooks are off, so that a page which shows credits has asked for itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from core import audit
from core.billing.models import Purchase
from core.database import transaction
from core.queue import TaskName
from tests.core.billing.kit import (
    Effects,
    at_stripe,
    bring_up_to_date,
    dispute_at_stripe,
    effects,
    events_kept,
    host,
    jobs_with_key,
    make_buyer,
    make_credited,
    make_event,
    make_purchase,
    pay,
    sign_in,
    signed,
    stripe_requests,
    turn,
)

pytestmark = pytest.mark.usefixtures("house")

Headers = dict[str, str]


@pytest.fixture
def web(app: Quart) -> Client:
    """A client that keeps nothing: each call brings its own cookie."""
    return app.test_client(use_cookies=False)


@pytest.fixture
async def buyer() -> Headers:
    return await sign_in(await make_buyer())


@pytest.fixture
async def knobs() -> AsyncIterator[Callable[..., Any]]:
    """The stand-in's knobs, as at the start again afterwards."""
    yield turn
    await turn()


async def buy(web: Client, buyer: Headers, *, key: str | None = None, **body: Any) -> Response:
    headers = buyer | ({} if key is None else {"Idempotency-Key": key})
    answer = await web.post("/api/purchases", json=body or {"bundle": "starter"}, headers=headers)
    assert isinstance(answer, Response)
    return answer


async def stored(purchase_id: str) -> Purchase:
    async with transaction() as session:
        return await session.get_one(Purchase, UUID(purchase_id))


async def test_the_bundles_are_for_all_to_see(web: Client) -> None:
    answer = await web.get("/api/bundles", headers={"Host": host()})

    assert answer.status_code == 200
    shown = (await answer.get_json())["bundles"]
    assert [(one["slug"], one["credits_mc"], one["amount"]) for one in shown] == [
        ("starter", 500_000, "$5.00"),
        ("plus", 1_650_000, "$15.00"),
        ("studio", 5_750_000, "$49.00"),
    ]


async def test_a_purchase_has_a_page_at_stripe_with_our_price(web: Client, buyer: Headers) -> None:
    answer = await buy(web, buyer, bundle="plus")

    assert answer.status_code == 201
    made = await answer.get_json()
    assert set(made) == {"id", "checkout_url"}
    row = await stored(made["id"])
    session = await at_stripe("GET", f"/v1/checkout/sessions/{row.stripe_session_id}")
    assert session["url"] == made["checkout_url"]
    assert (session["amount_total"], session["currency"]) == (1_500, "usd")
    assert session["success_url"].endswith(f"{host()}/credits/return?purchase={made['id']}")
    assert session["cancel_url"].endswith(f"{host()}/credits")


@pytest.mark.parametrize(
    ("currency", "amount_minor", "amount"),
    [("eur", 500, "€5.00"), ("gbp", 450, "£4.50"), ("jpy", 800, "¥800"), ("kwd", 1_600, "KWD 1.600")],
)
async def test_a_bundle_is_paid_and_credited_in_the_currency_that_was_asked_for(
    web: Client, currency: str, amount_minor: int, amount: str
) -> None:
    buyer = await sign_in(await make_buyer())
    bundles = (await (await web.get("/api/bundles", headers={"Host": host()})).get_json())["bundles"]
    made = await (await buy(web, buyer, bundle="starter", currency=currency)).get_json()
    row = await stored(made["id"])
    assert row.stripe_session_id is not None
    session = await at_stripe("GET", f"/v1/checkout/sessions/{row.stripe_session_id}")
    await pay(row.stripe_session_id)

    shown = await (await web.get(f"/api/purchases/{made['id']}", headers=buyer)).get_json()

    assert bundles[0]["prices"][currency] == {"amount_minor": amount_minor, "amount": amount}
    assert (session["amount_total"], session["currency"]) == (amount_minor, currency)
    assert (shown["state"], shown["currency"], shown["amount"]) == ("paid", currency, amount)
    assert shown["refundable"] == {"amount_minor": amount_minor, "amount": amount, "credits_mc": 500_000}
    assert (await effects(row)).balance_mc == 500_000


async def test_another_currency_is_refused_with_those_that_there_are(web: Client, buyer: Headers) -> None:
    answer = await buy(web, buyer, bundle="starter", currency="chf")

    assert answer.status_code == 400
    told = await answer.get_json(force=True)
    assert told["errors"] == [{"field": "currency", "rule": "must be one of usd, eur, gbp, jpy, kwd"}]


async def test_a_double_click_opens_one_page(web: Client, buyer: Headers) -> None:
    key = str(uuid4())

    answers = await asyncio.gather(*(buy(web, buyer, key=key) for _ in range(8)))
    later = await buy(web, buyer, key=key)

    assert {answer.status_code for answer in (*answers, later)} == {201}
    assert len({(await answer.get_data()) for answer in (*answers, later)}) == 1


async def test_two_attempts_without_a_key_are_two_purchases(web: Client, buyer: Headers) -> None:
    first, second = await buy(web, buyer), await buy(web, buyer)

    assert (await first.get_json())["id"] != (await second.get_json())["id"]


async def test_a_key_that_was_used_for_another_bundle_is_a_conflict(web: Client, buyer: Headers) -> None:
    await buy(web, buyer, key="attempt-1", bundle="starter")

    answer = await buy(web, buyer, key="attempt-1", bundle="plus")

    assert answer.status_code == 409
    assert (await answer.get_json())["code"] == "attempt-key-reused"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"bundle": "enormous"}, None),
        ({"bundle": ""}, None),
        ({"bundle": 1}, None),
        ({"nothing": "starter"}, None),
        ({"bundle": "starter", "amount_minor": 1}, None),
        ({"bundle": "starter"}, ""),
        ({"bundle": "starter"}, "k" * 201),
        ({"bundle": "starter"}, "k\x7f"),
    ],
)
async def test_a_purchase_of_something_else_is_refused(
    web: Client, buyer: Headers, body: dict[str, Any], key: str | None
) -> None:
    answer = await buy(web, buyer, key=key, **body)

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


async def test_only_the_signed_in_buy_and_only_from_our_own_pages(web: Client, buyer: Headers) -> None:
    unknown = await buy(web, {"Host": host()})
    forged = await buy(web, {name: value for name, value in buyer.items() if name != "X-CSRF-Token"})

    assert (unknown.status_code, forged.status_code) == (401, 403)


async def test_twenty_purchases_an_hour_are_enough_and_the_same_click_is_one(web: Client) -> None:
    account_id = await make_buyer()
    buyer, other = await sign_in(account_id), await sign_in(await make_buyer())
    first = await buy(web, buyer, key="first")
    for number in range(19):
        assert (await buy(web, buyer, key=f"key-{number}")).status_code == 201
        assert (await buy(web, buyer, key="first")).status_code in {201, 429}

    again, one_more, others = await buy(web, buyer, key="key-1"), await buy(web, buyer), await buy(web, other)

    assert (first.status_code, one_more.status_code, others.status_code) == (201, 429, 201)
    assert (await one_more.get_json(force=True))["code"] == "too-many-tries"
    assert again.status_code == 429
    async with transaction() as session:
        begun = select(func.count()).where(Purchase.account_id == account_id)
        assert (await session.scalars(begun)).one() == 20


async def test_when_stripe_is_down_the_same_attempt_works_later(
    web: Client, buyer: Headers, knobs: Callable[..., Any]
) -> None:
    key = str(uuid4())
    await knobs(fail={"status": 503, "match": "checkout"})

    down = await buy(web, buyer, key=key)
    listed = (await (await web.get("/api/purchases", headers=buyer)).get_json())["purchases"]
    up = await buy(web, buyer, key=key)

    assert down.status_code == 503
    assert (await down.get_json(force=True))["code"] == "stripe-unavailable"
    assert [one["state"] for one in listed] == ["open"]
    assert up.status_code == 201
    assert (await up.get_json())["id"] == listed[0]["id"]


async def test_the_return_page_shows_credits_without_any_webhook(
    web: Client, buyer: Headers, knobs: Callable[..., Any]
) -> None:
    await knobs(webhooks="off")
    made = await (await buy(web, buyer)).get_json()
    row = await stored(made["id"])
    assert row.stripe_session_id is not None
    await pay(row.stripe_session_id)

    began = time.monotonic()
    shown = await (await web.get(f"/api/purchases/{made['id']}", headers=buyer)).get_json()
    took = time.monotonic() - began

    assert (shown["state"], shown["bundle"], shown["credits_mc"]) == ("paid", "starter", 500_000)
    assert shown["paid_at"] is not None
    assert await effects(row) == Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)
    assert took < 5


async def test_many_polls_ask_stripe_once(web: Client) -> None:
    purchase, _ = await make_purchase()
    buyer = await sign_in(purchase.account_id)
    before = await stripe_requests()

    answers = await asyncio.gather(*(web.get(f"/api/purchases/{purchase.id}", headers=buyer) for _ in range(10)))

    assert {(await answer.get_json())["state"] for answer in answers} == {"open"}
    assert await stripe_requests() == before + 1


async def test_a_paid_purchase_is_not_asked_about(web: Client) -> None:
    purchase, checkout = await make_purchase()
    buyer = await sign_in(purchase.account_id)
    await pay(checkout.id)
    await web.get(f"/api/purchases/{purchase.id}", headers=buyer)
    before = await stripe_requests()

    shown = await (await web.get(f"/api/purchases/{purchase.id}", headers=buyer)).get_json()

    assert shown["state"] == "paid"
    assert await stripe_requests() == before


async def test_when_stripe_hangs_the_page_answers_and_a_worker_goes_on(web: Client, knobs: Callable[..., Any]) -> None:
    purchase, checkout = await make_purchase()
    buyer = await sign_in(purchase.account_id)
    await pay(checkout.id)
    await knobs(fail={"hang": True, "times": 0, "match": "checkout"})

    began = time.monotonic()
    answer = await web.get(f"/api/purchases/{purchase.id}", headers=buyer)
    took = time.monotonic() - began

    assert (answer.status_code, (await answer.get_json())["state"]) == (200, "open")
    assert took < 5
    [job] = await jobs_with_key(f"credit:{purchase.id}")
    assert (job.task, job.payload) == (TaskName.CREDIT_PURCHASE, {"purchase_id": str(purchase.id)})


async def test_a_strangers_purchase_is_not_there(web: Client, buyer: Headers) -> None:
    purchase, _ = await make_purchase()
    before = await stripe_requests()

    answer = await web.get(f"/api/purchases/{purchase.id}", headers=buyer)
    listed = await (await web.get("/api/purchases", headers=buyer)).get_json()

    assert answer.status_code == 404
    assert listed == {"purchases": [], "next": None}
    assert await stripe_requests() == before


async def test_a_page_after_nonsense_is_refused(web: Client, buyer: Headers) -> None:
    answer = await web.get("/api/purchases?after=yesterday", headers=buyer)

    assert answer.status_code == 400
    assert (await answer.get_json(force=True))["errors"] == [{"field": "after", "rule": "must be the id of a purchase"}]


async def test_a_webhook_is_verified_kept_and_answered_with_nothing(web: Client) -> None:
    event = make_event("cs_test_1")
    body, headers = signed(event)

    answer = await web.post("/webhooks/stripe", data=body, headers=headers)

    assert (answer.status_code, await answer.get_data()) == (204, b"")
    [kept] = await events_kept(event["id"])
    assert kept.body == event
    assert len(await jobs_with_key(f"stripe:{event['id']}")) == 1


async def test_the_same_webhook_fifty_times_at_once_is_one_event_and_one_job(web: Client) -> None:
    event = make_event("cs_test_1")
    body, headers = signed(event)

    answers = await asyncio.gather(*(web.post("/webhooks/stripe", data=body, headers=headers) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {204}
    assert len(await events_kept(event["id"])) == 1
    assert len(await jobs_with_key(f"stripe:{event['id']}")) == 1


async def test_what_is_not_stripes_is_refused_and_not_kept(web: Client) -> None:
    event = make_event("cs_test_1")
    body, headers = signed(event)

    changed = await web.post("/webhooks/stripe", data=body.replace(b"cs_test_1", b"cs_test_2"), headers=headers)
    unsigned = await web.post("/webhooks/stripe", data=body, headers={"Host": host()})
    odd = await web.post("/webhooks/stripe", data=body, headers=headers | {"Stripe-Signature": "t=1,v1=\u00e9"})
    other = make_event("cs_test_1") | {"api_version": "2020-08-27"}
    other_body, other_headers = signed(other)
    other_version = await web.post("/webhooks/stripe", data=other_body, headers=other_headers)

    assert [one.status_code for one in (changed, unsigned, odd, other_version)] == [400] * 4
    assert await events_kept(event["id"]) == await events_kept(other["id"]) == []


async def test_a_body_beyond_the_cap_is_refused(web: Client) -> None:
    answer = await web.post("/webhooks/stripe", data=b" " * (256 * 1024 + 1), headers={"Host": host()})

    assert answer.status_code == 413


async def test_an_event_as_large_as_stripes_largest_is_taken(web: Client) -> None:
    event = make_event("cs_test_1") | {"padding": "x" * 250_000}
    body, headers = signed(event)

    answer = await web.post("/webhooks/stripe", data=body, headers=headers)

    assert answer.status_code == 204


async def test_a_purchase_says_what_may_be_refunded_and_is_refunded_once_for_each_key(web: Client) -> None:
    purchase, _ = await make_credited()
    buyer = await sign_in(purchase.account_id)
    asking = f"/api/purchases/{purchase.id}/refund"

    before = await (await web.get(f"/api/purchases/{purchase.id}", headers=buyer)).get_json()
    answers = await asyncio.gather(
        *(web.post(asking, headers=buyer | {"Idempotency-Key": "refund-1"}) for _ in range(5))
    )
    other_key = await web.post(asking, headers=buyer | {"Idempotency-Key": "refund-2"})
    after = await (await web.get(f"/api/purchases/{purchase.id}", headers=buyer)).get_json()

    assert before["refundable"] == {"amount_minor": 500, "amount": "$5.00", "credits_mc": 500_000}
    assert (before["refund_refused"], before["refunds"], before["reversed"]) == (None, [], "$0.00")
    assert {answer.status_code for answer in answers} == {202}
    for answer in answers:
        assert (await answer.get_json())["refund"] == after["refunds"][0]
    assert len(after["refunds"]) == 1
    async with transaction() as session:
        noted = await audit.history(session, account_id=purchase.account_id)
    assert [(one.action, one.object) for one in noted] == [("refund_made", f"refund:{after['refunds'][0]['id']}")]
    assert (after["refundable"], after["refund_refused"]["reason"], after["reversed"]) == (None, "under-way", "$5.00")
    assert other_key.status_code == 409
    problem = await other_key.get_json(force=True)
    assert (problem["code"], problem["reason"]) == ("not-refundable", "under-way")
    assert problem["detail"] == "A refund of this purchase is under way."


async def test_only_the_buyer_may_have_a_purchase_refunded(web: Client, buyer: Headers) -> None:
    purchase, _ = await make_credited()

    answer = await web.post(f"/api/purchases/{purchase.id}/refund", headers=buyer)

    assert answer.status_code == 404


async def test_a_disputed_purchase_says_so(web: Client) -> None:
    purchase, payment = await make_credited()
    buyer = await sign_in(purchase.account_id)
    await dispute_at_stripe(payment)
    await bring_up_to_date(purchase)

    listed = await (await web.get("/api/purchases", headers=buyer)).get_json()

    [shown] = listed["purchases"]
    [dispute] = shown["disputes"]
    assert (dispute["amount"], dispute["holds_back"], dispute["decided"]) == ("$5.00", True, False)
    assert (shown["refundable"], shown["refund_refused"]["reason"]) == (None, "disputed")
