"""Buying, against real PostgreSQL and the stand-in of Stripe by its own SDK. All of it is committed, as it must be
for callers that meet each other."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from core.billing import purchases, stripe_api
from core.billing.bundles import UnknownBundle
from core.billing.models import Purchase
from core.billing.purchases import AttemptKeyReused, MismatchedPayment, Outcome, PurchaseEnded, UnknownPurchase
from core.billing.stripe_api import Checkout
from core.database import transaction
from core.errors import NotFound
from tests.core.billing.kit import (
    RETURN_URLS,
    Effects,
    at_stripe,
    effects,
    make_buyer,
    make_paid,
    make_purchase,
    pay,
)

pytestmark = pytest.mark.usefixtures("house")

NOTHING = Effects(state="open", balance_mc=0, entries=0, receipts=0)
CREDITED = Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)


async def take_up(checkout: Checkout) -> Outcome:
    async with transaction() as session:
        return await purchases.take_up(session, checkout)


async def test_a_paid_purchase_is_credited_with_a_receipt() -> None:
    purchase, checkout = await make_paid(bundle="plus")

    outcome = await take_up(checkout)

    assert outcome == Outcome.CREDITED
    assert await effects(purchase) == Effects(state="paid", balance_mc=1_650_000, entries=1, receipts=1)
    async with transaction() as session:
        paid = await session.get_one(Purchase, purchase.id)
    assert paid.stripe_payment_intent_id == checkout.payment_intent
    assert paid.paid_at is not None


async def test_twenty_that_credit_at_once_credit_once() -> None:
    purchase, checkout = await make_paid()

    async def credit() -> bool:
        async with transaction() as session:
            return await purchases.credit(session, purchase.id, checkout)

    did = await asyncio.gather(*(credit() for _ in range(20)))

    assert did.count(True) == 1
    assert await effects(purchase) == CREDITED


async def test_a_failure_after_the_grant_takes_the_grant_back() -> None:
    purchase, checkout = await make_paid()

    async def credit_and_fail() -> None:
        async with transaction() as session:
            assert await purchases.credit(session, purchase.id, checkout)
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await credit_and_fail()
    assert await effects(purchase) == NOTHING

    assert await take_up(checkout) == Outcome.CREDITED
    assert await effects(purchase) == CREDITED


@pytest.mark.parametrize(
    ("changes", "unequal"),
    [
        ({"mode": "subscription"}, "mode"),
        ({"status": "open"}, "status"),
        ({"payment_status": "no_payment_required"}, "payment_status"),
        ({"reference": str(uuid4())}, "reference"),
        ({"reference": None}, "reference"),
        ({"purchase": str(uuid4())}, "metadata"),
        ({"purchase": None}, "metadata"),
        ({"amount_minor": 499}, "amount"),
        ({"amount_minor": None}, "amount"),
        ({"currency": "jpy"}, "currency"),
        ({"livemode": True}, "livemode"),
        ({"items": ((2, 250),)}, "items"),
        ({"items": ((1, 1),)}, "items"),
        ({"items": ((1, 500), (1, 0))}, "items"),
        ({"items": ()}, "items"),
    ],
)
async def test_a_payment_that_is_not_what_we_sold_grants_nothing(changes: dict[str, Any], unequal: str) -> None:
    purchase, checkout = await make_paid()

    with pytest.raises(MismatchedPayment) as refused:
        await take_up(replace(checkout, **changes))

    assert refused.value.facts["unequal"] == [unequal]
    assert await effects(purchase) == NOTHING


async def test_the_session_of_one_purchase_does_not_pay_another() -> None:
    dear, _ = await make_purchase(bundle="studio")
    _, cheap_checkout = await make_paid()

    with pytest.raises(MismatchedPayment):
        async with transaction() as session:
            await purchases.credit(session, dear.id, cheap_checkout)

    assert await effects(dear) == NOTHING


async def test_a_session_that_we_did_not_open_is_nobodys() -> None:
    purchase, checkout = await make_paid()

    with pytest.raises(UnknownPurchase):
        await take_up(replace(checkout, id="cs_test_of_somebody_else"))

    assert await effects(purchase) == NOTHING


async def test_a_delayed_payment_waits_and_is_then_credited() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "delayed")

    assert await take_up(await stripe_api.fetch_session(checkout.id)) == Outcome.WAITING
    assert await effects(purchase) == NOTHING

    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": True})
    assert await take_up(await stripe_api.fetch_session(checkout.id)) == Outcome.CREDITED
    assert await effects(purchase) == CREDITED


async def test_a_delayed_payment_that_fails_ends_the_purchase() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "delayed")
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": False})

    assert await take_up(await stripe_api.fetch_session(checkout.id)) == Outcome.FAILED

    assert await effects(purchase) == replace(NOTHING, state="failed")


async def test_a_declined_card_leaves_the_purchase_open() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "declined")

    assert await take_up(await stripe_api.fetch_session(checkout.id)) == Outcome.WAITING

    assert await effects(purchase) == NOTHING


async def test_an_expired_session_ends_the_purchase_once() -> None:
    purchase, checkout = await make_purchase()
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/expire")
    expired = await stripe_api.fetch_session(checkout.id)

    assert await take_up(expired) == Outcome.EXPIRED
    assert await take_up(expired) == Outcome.NOTHING

    assert await effects(purchase) == replace(NOTHING, state="expired")


async def test_old_news_does_not_undo_a_payment() -> None:
    purchase, checkout = await make_paid()
    await take_up(checkout)

    for old in (
        replace(checkout, status="expired", payment_status="unpaid"),
        replace(checkout, payment_status="unpaid", payment_failed=True),
        replace(checkout, amount_minor=1),
    ):
        assert await take_up(old) == Outcome.NOTHING

    assert await effects(purchase) == CREDITED


async def test_money_that_came_after_all_is_credited() -> None:
    purchase, checkout = await make_paid()
    await take_up(replace(checkout, status="expired", payment_status="unpaid"))

    assert await take_up(checkout) == Outcome.CREDITED

    assert await effects(purchase) == CREDITED


async def test_a_double_click_is_one_purchase_with_one_page() -> None:
    buyer, key = await make_buyer(), str(uuid4())

    async def click() -> tuple[Any, str | None]:
        async with transaction() as session:
            purchase = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=key)
        checkout = await stripe_api.create_session(purchase, name="Starter", **RETURN_URLS)
        async with transaction() as session:
            return purchase.id, await purchases.attach(session, purchase.id, checkout)

    clicks = await asyncio.gather(*(click() for _ in range(10)))

    assert len(set(clicks)) == 1
    async with transaction() as session:
        count = select(func.count()).select_from(Purchase).where(Purchase.account_id == buyer)
        assert await session.scalar(count) == 1


async def test_an_attempt_key_belongs_to_its_account_and_bundle() -> None:
    buyer, other, key = await make_buyer(), await make_buyer(), "attempt-1"

    async with transaction() as session:
        first = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=key)
        again = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=key)
        others = await purchases.start(session, account_id=other, bundle="starter", attempt_key=key)
        with pytest.raises(AttemptKeyReused):
            await purchases.start(session, account_id=buyer, bundle="plus", attempt_key=key)
        with pytest.raises(UnknownBundle):
            await purchases.start(session, account_id=buyer, bundle="enormous", attempt_key="attempt-2")

    assert first.id == again.id != others.id


async def test_a_purchase_that_has_ended_is_not_begun_again() -> None:
    purchase, checkout = await make_paid()
    await take_up(checkout)

    with pytest.raises(PurchaseEnded):
        async with transaction() as session:
            await purchases.start(
                session, account_id=purchase.account_id, bundle="starter", attempt_key=purchase.attempt_key
            )


async def test_a_purchase_is_its_buyers_alone() -> None:
    purchase, _ = await make_purchase()
    stranger = await make_buyer()

    async with transaction() as session:
        with pytest.raises(NotFound):
            await purchases.get(session, purchase.id, account_id=stranger)
        assert await purchases.checkout_to_ask(session, purchase.id, account_id=stranger) is None
        assert await purchases.page(session, account_id=stranger) == []


async def test_stripe_is_asked_for_a_waiting_purchase_by_one_of_many() -> None:
    purchase, checkout = await make_purchase()

    async def turn() -> str | None:
        async with transaction() as session:
            return await purchases.checkout_to_ask(session, purchase.id, account_id=purchase.account_id)

    turns = await asyncio.gather(*(turn() for _ in range(10)))

    assert [one for one in turns if one is not None] == [checkout.id]


async def test_purchases_are_paged_newest_first() -> None:
    buyer = await make_buyer()
    async with transaction() as session:
        made = [
            (await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=str(number))).id
            for number in range(5)
        ]

    async with transaction() as session:
        first = [one.id for one in await purchases.page(session, account_id=buyer, limit=3)]
        second = [one.id for one in await purchases.page(session, account_id=buyer, after=first[-1], limit=3)]

    assert first + second == made[::-1]
