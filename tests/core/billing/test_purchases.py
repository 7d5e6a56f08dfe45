"""Buying, against real PostgreSQL and the stand-in of Stripe by its own SDK. All of it is committed, as it must be
for callers that meet each other."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from core.billing import purchases, stripe_api
from core.billing.bundles import UnknownBundle
from core.billing.models import Purchase
from core.billing.purchases import AttemptKeyReused, PurchaseEnded
from core.database import transaction
from core.errors import NotFound
from tests.core.billing.kit import (
    RETURN_URLS,
    bring_up_to_date,
    make_buyer,
    make_paid,
    make_purchase,
)

pytestmark = pytest.mark.usefixtures("house")


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


async def test_an_attempt_key_belongs_to_its_account_bundle_and_currency() -> None:
    buyer, other, key = await make_buyer(), await make_buyer(), "attempt-1"

    async with transaction() as session:
        first = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=key)
        again = await purchases.start(session, account_id=buyer, bundle="starter", attempt_key=key)
        others = await purchases.start(session, account_id=other, bundle="starter", attempt_key=key)
        with pytest.raises(AttemptKeyReused):
            await purchases.start(session, account_id=buyer, bundle="plus", attempt_key=key)
        with pytest.raises(AttemptKeyReused):
            await purchases.start(session, account_id=buyer, bundle="starter", currency="jpy", attempt_key=key)
        with pytest.raises(UnknownBundle):
            await purchases.start(session, account_id=buyer, bundle="enormous", attempt_key="attempt-2")

    assert first.id == again.id != others.id


async def test_a_purchase_that_has_ended_is_not_begun_again() -> None:
    purchase, _ = await make_paid()
    await bring_up_to_date(purchase)

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
        assert await purchases.page(session, account_id=stranger) == []


async def test_stripe_is_asked_for_a_waiting_purchase_by_one_of_many() -> None:
    purchase, _ = await make_purchase()

    async def turn() -> bool:
        async with transaction() as session:
            return await purchases.turn_to_ask(session, purchase.id)

    turns = await asyncio.gather(*(turn() for _ in range(10)))

    assert turns.count(True) == 1


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
