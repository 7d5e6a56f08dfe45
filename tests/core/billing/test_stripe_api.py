"""How Stripe's troubles reach us. What the stand-in does not do, a transport answers in Stripe's own words."""

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import httpx
import pytest

from core.billing import stripe_api
from core.billing.models import Purchase
from core.billing.stripe_api import StripeRefused, StripeUnavailable, UnknownCheckout
from core.errors import Kind
from core.settings import settings
from tests.core.billing.kit import RETURN_URLS, make_purchase, stripe_requests, turn

SESSION = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "url": "https://checkout.stripe.com/c/pay/cs_test_1",
    "mode": "payment",
    "status": "open",
    "payment_status": "unpaid",
    "livemode": False,
}
IN_USE = {
    "error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "Please try again later."}
}
FAULT = {"error": {"type": "api_error", "message": "Something went wrong on Stripe's end."}}
NOWHERE = {"stripe_api_base": "http://127.0.0.1:9"}
Answers = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
async def knobs() -> AsyncIterator[None]:
    """The stand-in's knobs, as at the start again afterwards."""
    yield
    await turn()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], None]]:
    """Have a function answer in Stripe's place."""

    def install(answer: Answers) -> None:
        transport = stripe_api._Transport()
        transport.client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        monkeypatch.setattr(stripe_api, "_transport", lambda: transport)
        stripe_api._client_with.cache_clear()

    yield install
    stripe_api._client_with.cache_clear()


def unsaved() -> Purchase:
    return Purchase(id=uuid4(), currency="usd", amount_minor=500)


@pytest.mark.parametrize(
    ("failure", "error", "retry_after"),
    [
        ({"status": 500}, StripeUnavailable, None),
        ({"status": 503}, StripeUnavailable, None),
        ({"status": 429, "retry_after": 7}, StripeUnavailable, 7.0),
        ({"status": 402}, StripeRefused, None),
        ({"status": 400}, StripeRefused, None),
    ],
)
async def test_what_time_may_heal_is_told_from_what_it_does_not(
    failure: dict[str, int], error: type[Exception], retry_after: float | None, knobs: None
) -> None:
    await turn(fail=failure | {"match": "checkout"})

    with pytest.raises(error) as raised:
        await stripe_api.fetch_session("cs_test_1")

    assert getattr(raised.value, "retry_after", None) == retry_after


async def test_a_call_is_not_repeated_behind_our_back(knobs: None) -> None:
    before = await stripe_requests()
    await turn(fail={"status": 500, "times": 0, "match": "checkout"})

    with pytest.raises(StripeUnavailable):
        await stripe_api.fetch_session("cs_test_1")

    assert await stripe_requests() == before + 1


async def test_a_stripe_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_api, "settings", lambda: settings().model_copy(update=NOWHERE))
    stripe_api._client_with.cache_clear()

    with pytest.raises(StripeUnavailable) as raised:
        await stripe_api.fetch_session("cs_test_1")

    assert raised.value.kind is Kind.UNAVAILABLE


async def test_a_session_that_stripe_does_not_know() -> None:
    with pytest.raises(UnknownCheckout):
        await stripe_api.fetch_session("cs_test_never_made")


async def test_a_wrong_key_is_worth_trying_again_once_an_operator_has_mended_it(
    answers: Callable[[Answers], None],
) -> None:
    error = {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
    answers(lambda _: httpx.Response(401, json=error))

    with pytest.raises(StripeUnavailable):
        await stripe_api.fetch_session("cs_test_1")


async def test_an_answer_that_was_lost_is_fetched_again_by_its_key(knobs: None) -> None:
    purchase = unsaved()
    await turn(fail={"status": 500, "executed": True, "match": "checkout"})
    with pytest.raises(StripeUnavailable):
        await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)

    first = await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)
    again = await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)

    assert first == again
    assert first.reference == first.purchase == str(purchase.id)
    assert (first.amount_minor, first.currency, first.items) == (500, "usd", ((1, 500),))


async def test_a_fault_that_stripe_repeats_is_left_behind_by_a_further_key(answers: Callable[[Answers], None]) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Idempotency-Key"])
        if len(asked) == 1:
            return httpx.Response(500, json=FAULT, headers={"Idempotent-Replayed": "true"})
        return httpx.Response(200, json=SESSION)

    answers(answer)
    purchase = unsaved()

    checkout = await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)

    assert checkout.id == "cs_test_1"
    assert asked == [f"purchase:{purchase.id}", f"purchase:{purchase.id}:again"]


async def test_a_fresh_fault_is_not_answered_with_a_further_key(answers: Callable[[Answers], None]) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Idempotency-Key"])
        return httpx.Response(500, json=FAULT)

    answers(answer)

    with pytest.raises(StripeUnavailable):
        await stripe_api.create_session(unsaved(), name="Starter", **RETURN_URLS)

    assert len(asked) == 1


async def test_a_twin_that_is_under_way_is_waited_for(answers: Callable[[Answers], None]) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Idempotency-Key"])
        return httpx.Response(409, json=IN_USE) if len(asked) < 3 else httpx.Response(200, json=SESSION)

    answers(answer)

    checkout = await stripe_api.create_session(unsaved(), name="Starter", **RETURN_URLS)

    assert checkout.id == "cs_test_1"
    assert len(asked) == 3
    assert len(set(asked)) == 1


async def test_each_call_names_the_version_that_we_read(answers: Callable[[Answers], None]) -> None:
    versions: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        versions.append(request.headers["Stripe-Version"])
        return httpx.Response(200, json=SESSION)

    answers(answer)

    await stripe_api.fetch_session("cs_test_1")

    assert versions == [stripe_api.API_VERSION]


async def test_the_buyer_pays_our_price_in_our_currency(answers: Callable[[Answers], None]) -> None:
    bodies: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        return httpx.Response(200, json=SESSION)

    answers(answer)
    purchase = unsaved()

    await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)

    sent = httpx.QueryParams(bodies[0])
    assert sent["mode"] == "payment"
    assert sent["line_items[0][price_data][unit_amount]"] == "500"
    assert sent["line_items[0][price_data][currency]"] == "usd"
    assert sent["line_items[0][quantity]"] == "1"
    assert sent["adaptive_pricing[enabled]"] == "false"
    assert sent["client_reference_id"] == sent["metadata[purchase]"] == str(purchase.id)
    assert sent["payment_intent_data[metadata][purchase]"] == str(purchase.id)


@pytest.mark.usefixtures("house")
async def test_a_session_is_read_whole() -> None:
    purchase, made = await make_purchase(bundle="plus")

    fetched = await stripe_api.fetch_session(made.id)

    assert fetched == made
    assert fetched.url is not None
    assert fetched.status == "open"
    assert fetched.payment_status == "unpaid"
    assert fetched.reference == str(purchase.id)
    assert fetched.items == ((1, 1_500),)
