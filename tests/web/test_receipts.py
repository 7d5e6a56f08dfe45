"""Receipts over HTTP: one's own, and nobody else's."""

from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from core.billing import receipts
from core.billing.models import Refund
from core.database import transaction
from tests.core.billing.kit import make_buyer, sign_in
from tests.core.billing.test_receipts import issue, make_sold


@pytest.fixture
def browser(app: Quart) -> Client:
    """Keeps nothing: each call brings its own cookie."""
    return app.test_client(use_cookies=False)


async def make_receipts(count: int) -> tuple[UUID, list[int]]:
    """A buyer with so many receipts, oldest first."""
    buyer = await make_buyer()
    return buyer, [await issue(await make_sold(buyer=buyer)) for _ in range(count)]


async def test_receipts_are_listed_newest_first_and_page_on(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.receipts.PAGE", 2)
    buyer, numbers = await make_receipts(3)
    headers = await sign_in(buyer)

    first = await (await browser.get("/api/receipts", headers=headers)).get_json()
    second = await (await browser.get(f"/api/receipts?after={first['next']}", headers=headers)).get_json()

    listed = [one["number"] for one in first["receipts"] + second["receipts"]]
    assert listed == [receipts.shown_number(number) for number in reversed(numbers)]
    assert second["next"] is None
    assert {
        name: first["receipts"][0][name] for name in ("bundle_name", "credits_mc", "amount", "returned", "pdf")
    } == {
        "bundle_name": "Plus",
        "credits_mc": 1_650_000,
        "amount": "$15.00",
        "returned": None,
        "pdf": f"/api/receipts/{receipts.shown_number(numbers[-1])}.pdf",
    }


async def test_a_receipt_is_a_pdf_that_changes_only_when_money_goes_back(browser: Client) -> None:
    buyer, [number] = await make_receipts(1)
    headers = await sign_in(buyer)

    first = await browser.get(f"/api/receipts/{receipts.shown_number(number)}.pdf", headers=headers)
    again = await browser.get(f"/api/receipts/{receipts.shown_number(number)}.pdf", headers=headers)
    async with transaction() as session:
        [[_, purchase]] = await receipts.page(session, account_id=buyer)
        session.add(Refund(purchase_id=purchase.id, origin="buyer", amount_minor=500, state="succeeded"))
    later = await browser.get(f"/api/receipts/{receipts.shown_number(number)}.pdf", headers=headers)

    assert (first.status_code, first.mimetype) == (200, "application/pdf")
    assert first.headers["Content-Disposition"] == f'attachment; filename="{receipts.shown_number(number)}.pdf"'
    assert first.headers["Cache-Control"] == "no-store"
    file = await first.get_data(as_text=False)
    assert file.startswith(b"%PDF-")
    assert await again.get_data(as_text=False) == file
    assert await later.get_data(as_text=False) != file


async def test_a_receipt_of_somebody_else_is_not_there(browser: Client) -> None:
    _, [number] = await make_receipts(1)
    somebody = await sign_in(await make_buyer())

    for name in (receipts.shown_number(number), "CC-999999999999", f"CC-{'9' * 19}", str(number), "CC-0", "CC-²"):
        answer = await browser.get(f"/api/receipts/{name}.pdf", headers=somebody)
        assert answer.status_code == 404, name
    assert (await browser.get(f"/api/receipts/{receipts.shown_number(number)}.pdf")).status_code == 401
    assert (await (await browser.get("/api/receipts", headers=somebody)).get_json())["receipts"] == []


async def test_what_names_no_receipt_is_refused(browser: Client) -> None:
    headers = await sign_in(await make_buyer())

    assert (await browser.get("/api/receipts?after=x", headers=headers)).status_code == 400
