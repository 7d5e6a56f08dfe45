"""The pages of money: what is sold and bought, what comes back and what is owed, in plain words."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from core.billing import bundles
from core.billing.models import Purchase
from core.credits import ledger
from core.database import transaction
from tests.core.billing.kit import (
    ask_for_refund,
    bring_up_to_date,
    close_dispute,
    dispute_at_stripe,
    make_credited,
    make_purchase,
    refund_at_stripe,
    sign_in,
    use,
)


@pytest.fixture
def browser(app: Quart) -> Client:
    return app.test_client(use_cookies=False)


async def read(browser: Client, path: str, account_id: UUID) -> str:
    """The words of a page."""
    answer = await browser.get(path, headers=await sign_in(account_id))
    assert answer.status_code == 200
    html = (await answer.get_data(as_text=True)).partition("<main")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def page_of(browser: Client, purchase: Purchase) -> str:
    return await read(browser, f"/credits/purchases/{purchase.id}", purchase.account_id)


@pytest.mark.parametrize(
    ("currency", "price"), [("usd", "$5.00"), ("jpy", "¥800"), ("kwd", "KWD 1.600"), ("xyz", "$5.00")]
)
async def test_bundles_are_shown_in_a_currency(browser: Client, account_id: UUID, currency: str, price: str) -> None:
    words = await read(browser, f"/credits?currency={currency}", account_id)

    assert f"Buy for {price}" in words
    assert all(one.upper() in words for one in bundles.BUNDLES[0].prices)


async def test_what_is_owed_is_said_with_its_reason(browser: Client) -> None:
    purchase, payment = await make_credited()
    await use(purchase, 300_000)
    await refund_at_stripe(payment, 500)
    await bring_up_to_date(purchase)

    words = await read(browser, "/credits", purchase.account_id)

    assert "You owe 300 credits" in words
    assert "Your next purchase pays it first" in words


async def test_who_owes_nothing_reads_nothing_of_it(browser: Client, rich_id: UUID) -> None:
    words = await read(browser, "/credits", rich_id)

    assert "owe" not in words
    assert "expire on" not in words


async def test_a_present_says_when_it_ends(browser: Client, account_id: UUID) -> None:
    async with transaction() as session:
        await ledger.grant(
            session, account_id=account_id, amount_mc=7_000, source=f"test:{account_id}", kind="promotion",
            expires_at=datetime(2099, 3, 5, tzinfo=UTC),
        )  # fmt: skip

    assert "7 of your credits were a present and expire on 5 Mar 2099" in await read(browser, "/credits", account_id)


async def test_the_unused_part_can_be_had_back(browser: Client) -> None:
    purchase, _ = await make_credited()
    await use(purchase, 100_000)

    words = await page_of(browser, purchase)

    assert "400 credits of this purchase are unused. You can have $4.00 back" in words
    assert "Keep the credits" in words


async def test_when_not_the_page_says_why(browser: Client) -> None:
    purchase, _ = await make_credited()
    await use(purchase, 500_000)

    words = await page_of(browser, purchase)

    assert "No refund can be asked for here: All credits of this purchase were used" in words
    assert "Keep the credits" not in words


async def test_a_refund_is_followed(browser: Client) -> None:
    purchase, payment = await make_credited()
    await ask_for_refund(purchase)
    asked = await page_of(browser, purchase)
    other, payment = await make_credited()
    await refund_at_stripe(payment, 200)
    await bring_up_to_date(other)
    paid_back = await page_of(browser, other)

    assert "paid, a refund is under way" in asked
    assert "$5.00, for 500 credits asked for: we are telling Stripe" in asked
    assert "paid, $2.00 given back" in paid_back
    assert "$2.00, for 200 credits paid back" in paid_back
    assert "You can have $3.00 back" in paid_back


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "Your bank questions this payment and holds $5.00 back until it has decided"),
        ("won", "Your bank’s question about $5.00 is settled"),
        ("lost", "Your bank has paid $5.00 back to you. The credits for it are gone."),
    ],
)
async def test_a_dispute_is_told_in_plain_words(browser: Client, status: str | None, said: str) -> None:
    purchase, payment = await make_credited()
    dispute = await dispute_at_stripe(payment)
    await bring_up_to_date(purchase)
    if status is not None:
        await close_dispute(dispute, status)
        await bring_up_to_date(purchase)

    words = await page_of(browser, purchase)

    assert said in words
    assert ("questioned by your bank" in words) is (status is None)


async def test_what_is_not_paid_yet_leads_to_where_it_is_asked_about(browser: Client, account_id: UUID) -> None:
    purchase, _ = await make_purchase(buyer=account_id)

    words = await page_of(browser, purchase)

    assert "waiting for the payment" in words
    assert "Ask Stripe about it" in words
    assert "refund" not in words.lower()


async def test_purchases_are_listed_newest_first_and_are_ones_own(browser: Client, account_id: UUID) -> None:
    other, _ = await make_purchase()
    for bundle in ("starter", "studio"):
        await make_purchase(bundle=bundle, buyer=account_id)

    words = await read(browser, "/credits/purchases", account_id)

    assert words.index("5,750 credits for $49.00") < words.index("500 credits for $5.00")
    somebody_elses = await browser.get(f"/credits/purchases/{other.id}", headers=await sign_in(account_id))
    assert somebody_elses.status_code == 404
