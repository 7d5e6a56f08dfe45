"""The pages of the statement, its months and receipts, as browsers without scripts get them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from core.credits import ledger
from core.database import transaction
from tests.core.billing.kit import make_buyer, sign_in
from tests.core.billing.test_receipts import issue, make_sold
from tests.web.test_pages import Page, walk
from tests.web.test_statement import ENDS, adjust, make_answered

MONTH = f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture
def browser(app: Quart) -> Client:
    """Keeps nothing: each call brings its own cookie."""
    return app.test_client(use_cookies=False)


async def read(browser: Client, path: str, account_id: UUID) -> str:
    answer = await browser.get(path, headers=await sign_in(account_id))
    assert answer.status_code == 200, path
    return await answer.get_data(as_text=True)


async def test_a_form_without_scripts_chooses_lines(browser: Client, account_id: UUID) -> None:
    await adjust(account_id, 5_000, "A welcome gift")
    await adjust(account_id, -1_000, "A mistake & its <end>")

    html = await read(browser, "/statement?kind=correction&from=2026-01-01&to=", account_id)

    assert "A mistake &amp; its &lt;end&gt;" in html
    assert "A welcome gift" not in html
    assert '<option value="correction" selected>' in html
    assert 'value="2026-01-01"' in html
    assert "/api/credits/entries.csv?kind=correction&amp;from=2026-01-01" in html
    assert "Nothing of that kind" in await read(browser, "/statement?kind=expiry", account_id)


async def test_older_lines_stay_of_the_chosen_kind(
    browser: Client, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(51):
        await adjust(account_id, 1_000, f"Gift {number} of many")

    page = Page(await read(browser, "/statement?kind=grant", account_id))
    [older] = [link for link in page.links if "after=" in link]

    assert older.startswith("/statement?kind=grant&after=")
    assert "Gift 0 of many" in await read(browser, older, account_id)


async def test_the_page_says_what_expires_next(browser: Client, account_id: UUID) -> None:
    await adjust(account_id, 2_500, "For a while", expires_at=ENDS)

    html = await read(browser, "/statement", account_id)

    assert "2.5 credits expire on" in html
    assert f'datetime="{ENDS:%Y-%m-%d}' in html


async def test_a_month_adds_up_on_its_page(browser: Client, rich_id: UUID) -> None:
    await make_answered(rich_id)

    html = await read(browser, f"/statement/months/{MONTH}", rich_id)

    for words in ("+1,000.000", "−0.700", "999.300", "General advisor"):
        assert words in html, words
    for path in ("/statement/months/2020-01", "/statement/months/x", "/statement/months/2026-13"):
        assert (await browser.get(path, headers=await sign_in(rich_id))).status_code == 404


async def test_the_line_of_an_answer_leads_to_the_answer(browser: Client, rich_id: UUID) -> None:
    generation = await make_answered(rich_id)

    [link] = [link for link in Page(await read(browser, "/statement", rich_id)).links if "#message-" in link]
    path, _, name = link.partition("#")

    assert name == f"message-{generation.answer_id}"
    assert name in Page(await read(browser, path, rich_id)).names


async def test_receipts_lead_to_their_files_and_purchases(browser: Client) -> None:
    buyer = await make_buyer()
    purchase_id = await make_sold(buyer=buyer)
    number = await issue(purchase_id)
    async with transaction() as session:
        await ledger.grant(
            session, account_id=buyer, amount_mc=1_650_000, source=f"purchase:{purchase_id}", kind="purchase"
        )

    pages = await walk(browser, await sign_in(buyer), "/receipts", "/statement")

    assert {
        f"/api/receipts/CC-{number:06}.pdf", f"/credits/purchases/{purchase_id}", "/statement/months",
        f"/statement/months/{MONTH}", "/api/credits/entries.csv",
    } <= pages.keys()  # fmt: skip
    assert f"CC-{number:06}" in await read(browser, "/receipts", buyer)
    assert "No receipts yet" in await read(browser, "/receipts", await make_buyer())


@pytest.mark.parametrize("path", ["/receipts", "/statement/months", f"/statement/months/{MONTH}"])
async def test_who_is_not_signed_in_is_sent_to_sign_in(browser: Client, path: str) -> None:
    assert (await browser.get(path)).headers["Location"] == f"/sign-in?next={path}"


@pytest.mark.parametrize("path", ["/statement?kind=x", "/statement?from=x", "/receipts?after=x"])
async def test_what_is_not_there_says_so(browser: Client, account_id: UUID, path: str) -> None:
    assert (await browser.get(path, headers=await sign_in(account_id))).status_code == 404
