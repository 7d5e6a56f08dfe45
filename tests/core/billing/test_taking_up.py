"""Stripe's word taken up, against real PostgreSQL and the stand-in of Stripe by its own SDK. All of it is committed, as
it must be for callers that meet each other."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from core.billing import stripe_api, taking_up
from core.billing.models import Purchase
from core.billing.stripe_facts import Checkout
from core.billing.taking_up import MismatchedPayment, Outcome, Word
from core.database import transaction
from tests.core.billing.kit import (
    Effects,
    at_stripe,
    balance_mc,
    bring_up_to_date,
    close_dispute,
    dispute_at_stripe,
    effects,
    know,
    letters_of,
    make_credited,
    make_paid,
    make_purchase,
    pay,
    refund_at_stripe,
    stripe_requests,
)

pytestmark = pytest.mark.usefixtures("house")

NOTHING = Effects(state="open", balance_mc=0, entries=0, receipts=0)
CREDITED = Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)


async def take_up(purchase: Purchase, checkout: Checkout) -> Outcome | None:
    known = await know(purchase)
    async with transaction() as session:
        return await taking_up.take_up(session, known, Word(checkout))


async def test_a_paid_purchase_is_credited_with_a_receipt() -> None:
    purchase, checkout = await make_paid(bundle="plus")

    outcome = await take_up(purchase, checkout)

    assert outcome == Outcome.CREDITED
    assert await effects(purchase) == Effects(state="paid", balance_mc=1_650_000, entries=1, receipts=1)
    async with transaction() as session:
        paid = await session.get_one(Purchase, purchase.id)
    assert paid.stripe_payment_intent_id == checkout.payment_intent
    assert paid.paid_at is not None


async def test_twenty_that_credit_at_once_credit_once() -> None:
    purchase, _ = await make_paid()

    outcomes = await asyncio.gather(*(bring_up_to_date(purchase) for _ in range(20)))

    assert sorted(outcomes) == [Outcome.CREDITED, *[Outcome.NOTHING] * 19]
    assert await effects(purchase) == CREDITED


async def test_a_failure_after_the_grant_takes_the_grant_back() -> None:
    purchase, _ = await make_paid()

    async def fail(_session: object, outcome: Outcome) -> None:
        assert outcome == Outcome.CREDITED
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await taking_up.bring_up_to_date(await know(purchase), along=fail)
    assert await effects(purchase) == NOTHING

    assert await bring_up_to_date(purchase) == Outcome.CREDITED
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
        await take_up(purchase, replace(checkout, **changes))

    assert refused.value.facts["unequal"] == [unequal]
    assert await effects(purchase) == NOTHING


async def test_the_session_of_one_purchase_does_not_pay_another() -> None:
    dear, _ = await make_purchase(bundle="studio")
    _, cheap_checkout = await make_paid()

    with pytest.raises(MismatchedPayment):
        async with transaction() as session:
            await taking_up.take_up(session, await know(dear), Word(cheap_checkout))

    assert await effects(dear) == NOTHING


async def test_a_delayed_payment_waits_and_is_then_credited() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "delayed")

    assert await take_up(purchase, await stripe_api.fetch_session(checkout.id)) == Outcome.WAITING
    assert await effects(purchase) == NOTHING

    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": True})
    assert await take_up(purchase, await stripe_api.fetch_session(checkout.id)) == Outcome.CREDITED
    assert await effects(purchase) == CREDITED


async def test_a_delayed_payment_that_fails_ends_the_purchase() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "delayed")
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": False})

    assert await take_up(purchase, await stripe_api.fetch_session(checkout.id)) == Outcome.FAILED

    assert await effects(purchase) == replace(NOTHING, state="failed")
    assert await letters_of(purchase) == ["payment_failed"]


async def test_a_declined_card_leaves_the_purchase_open() -> None:
    purchase, checkout = await make_purchase()
    await pay(checkout.id, "declined")

    assert await take_up(purchase, await stripe_api.fetch_session(checkout.id)) == Outcome.WAITING

    assert await effects(purchase) == NOTHING


async def test_an_expired_session_ends_the_purchase_once() -> None:
    purchase, checkout = await make_purchase()
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/expire")
    expired = await stripe_api.fetch_session(checkout.id)

    assert await take_up(purchase, expired) == Outcome.EXPIRED
    assert await take_up(purchase, expired) == Outcome.NOTHING

    assert await effects(purchase) == replace(NOTHING, state="expired")


async def test_old_news_does_not_undo_a_payment() -> None:
    purchase, checkout = await make_paid()
    await take_up(purchase, checkout)

    for old in (
        replace(checkout, status="expired", payment_status="unpaid"),
        replace(checkout, payment_status="unpaid", payment_failed=True),
        replace(checkout, amount_minor=1),
    ):
        assert await take_up(purchase, old) == Outcome.NOTHING

    assert await effects(purchase) == CREDITED


async def test_money_that_came_after_all_is_credited() -> None:
    purchase, checkout = await make_paid()
    await take_up(purchase, replace(checkout, status="expired", payment_status="unpaid"))

    assert await take_up(purchase, checkout) == Outcome.CREDITED

    assert await effects(purchase) == CREDITED


async def test_a_fresh_payment_costs_one_call() -> None:
    purchase, _ = await make_paid()
    known, before = await know(purchase), await stripe_requests()

    assert await taking_up.bring_up_to_date(known) == Outcome.CREDITED

    assert await stripe_requests() == before + 1


async def test_refunds_at_stripe_take_back_their_part_of_the_credits() -> None:
    purchase, payment = await make_credited()

    await refund_at_stripe(payment, 200)
    assert await bring_up_to_date(purchase) == Outcome.RETURNED
    assert await balance_mc(purchase) == 300_000

    await refund_at_stripe(payment, 300)
    assert await bring_up_to_date(purchase) == Outcome.RETURNED
    assert await bring_up_to_date(purchase) == Outcome.NOTHING
    assert await balance_mc(purchase) == 0
    assert await letters_of(purchase) == ["refund_sent", "refund_sent"]


async def test_a_refund_that_fails_later_gives_the_credits_back() -> None:
    purchase, payment = await make_credited()
    refund = await refund_at_stripe(payment, 500, status="pending")
    await bring_up_to_date(purchase)
    assert await balance_mc(purchase) == 0

    await at_stripe("POST", f"/control/stripe/refunds/{refund}/finish", {"succeeds": True})
    await bring_up_to_date(purchase)
    await at_stripe("POST", f"/control/stripe/refunds/{refund}/finish", {"succeeds": False})
    assert await bring_up_to_date(purchase) == Outcome.RETURNED

    assert await balance_mc(purchase) == 500_000
    assert await letters_of(purchase) == ["refund_sent", "refund_failed"]


async def test_what_was_refunded_before_we_knew_of_the_payment_is_credited_and_taken_back() -> None:
    purchase, checkout = await make_paid()
    assert checkout.payment_intent is not None
    await refund_at_stripe(checkout.payment_intent, 100)

    assert await bring_up_to_date(purchase) == Outcome.CREDITED

    assert await effects(purchase) == replace(CREDITED, balance_mc=400_000)


@pytest.mark.parametrize(("status", "left_mc"), [("won", 500_000), ("lost", 0)])
async def test_a_dispute_holds_the_credits_back_until_it_is_decided(status: str, left_mc: int) -> None:
    purchase, payment = await make_credited()

    dispute = await dispute_at_stripe(payment)
    await bring_up_to_date(purchase)
    assert await balance_mc(purchase) == 0
    await close_dispute(dispute, status)
    await bring_up_to_date(purchase)

    assert await balance_mc(purchase) == left_mc
    assert await letters_of(purchase) == ["dispute_opened"]


async def test_a_bank_that_only_asks_takes_nothing() -> None:
    purchase, payment = await make_credited()

    dispute = await dispute_at_stripe(payment, inquiry=True)
    assert await bring_up_to_date(purchase) == Outcome.RETURNED
    await close_dispute(dispute, "warning_closed")
    assert await bring_up_to_date(purchase) == Outcome.RETURNED

    assert await balance_mc(purchase) == 500_000
    assert await letters_of(purchase) == []


async def test_a_refund_and_a_dispute_of_the_same_money_take_it_once() -> None:
    purchase, payment = await make_credited()
    await refund_at_stripe(payment, 200)
    await dispute_at_stripe(payment, amount=500)

    await bring_up_to_date(purchase)

    assert await balance_mc(purchase) == 0
    async with transaction() as session:
        assert (await session.get_one(Purchase, purchase.id)).reversed_minor == 500


async def test_an_older_word_is_thrown_away_and_stripe_is_asked_again() -> None:
    purchase, payment = await make_credited()
    dispute = await dispute_at_stripe(payment)
    known = await know(purchase)
    older = await taking_up.ask_stripe(known)
    await close_dispute(dispute, "won")
    await bring_up_to_date(purchase)

    async with transaction() as session:
        assert await taking_up.take_up(session, known, older) is None

    assert await balance_mc(purchase) == 500_000
    assert await taking_up.bring_up_to_date(known) == Outcome.NOTHING


async def test_an_older_word_does_not_come_after_one_that_changed_nothing() -> None:
    purchase, payment = await make_credited()
    known = await know(purchase)
    await dispute_at_stripe(payment)
    older = await taking_up.ask_stripe(replace(known, has_returns=True))
    assert older.disputes
    async with transaction() as session:  # as if the dispute were gone again when another asked
        assert await taking_up.take_up(session, known, replace(older, disputes=())) == Outcome.NOTHING

    async with transaction() as session:
        assert await taking_up.take_up(session, known, older) is None

    assert await balance_mc(purchase) == 500_000
