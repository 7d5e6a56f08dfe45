"""The statement over HTTP: filters, causes, CSV, months; and each answer's own receipt."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import select

from core.consultations import conversation, generations
from core.consultations.generations import Ending
from core.consultations.models import Generation, GenerationState
from core.credits import adjustments, ledger
from core.credits.models import EntryKind
from core.database import transaction
from tests.core.billing.kit import sign_in
from tests.makers import make_account, make_consultation
from web.csv_lines import csv_line, plain_credits, safe

ENDS = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture
def browser(app: Quart) -> Client:
    """Keeps nothing: each call brings its own cookie."""
    return app.test_client(use_cookies=False)


async def adjust(account_id: UUID, amount_mc: int, reason: str, *, expires_at: datetime | None = None) -> None:
    async with transaction() as session:
        await adjustments.make(
            session, account_id=account_id, amount_mc=amount_mc, reason=reason, made_by=account_id,
            attempt_key=str(uuid4()), expires_at=expires_at,
        )  # fmt: skip


async def make_answered(account_id: UUID) -> Generation:
    """A question that was answered at a price of its tokens."""
    async with transaction() as session:
        consultation = await make_consultation(session, account_id)
        asked = await conversation.ask(session, account_id=account_id, consultation_id=consultation, question="Why?")
        generation = (await session.scalars(select(Generation).where(Generation.question_id == asked.message))).one()
    order = await generations.load(generation.id)
    assert order is not None
    ending = Ending(GenerationState.DONE, "stop", "Because.", 100, 200, estimated=False, cost_mc=700)
    async with transaction() as session:
        await generations.record(session, order, ending)
    async with transaction() as session:
        return await session.get_one(Generation, generation.id)


async def read(browser: Client, path: str, account_id: UUID) -> Any:
    answer = await browser.get(path, headers=await sign_in(account_id))
    assert answer.status_code == 200, (path, await answer.get_data(as_text=True))
    return await answer.get_json()


async def test_each_line_says_why_and_leads_there(browser: Client, account_id: UUID) -> None:
    purchase = uuid4()
    async with transaction() as session:
        await ledger.grant(
            session, account_id=account_id, amount_mc=500_000, source=f"purchase:{purchase}", kind="purchase"
        )
        await ledger.reverse_to(session, source=f"purchase:{purchase}", target_mc=100_000, kind=EntryKind.DISPUTE)
        await ledger.reverse_to(session, source=f"purchase:{purchase}", target_mc=0, kind=EntryKind.DISPUTE)
        await ledger.reverse_to(session, source=f"purchase:{purchase}", target_mc=50_000, kind=EntryKind.REFUND)
    await adjust(account_id, 1_000, "Welcome", expires_at=ENDS)
    generation = await make_answered(account_id)

    lines = (await read(browser, "/api/credits/entries", account_id))["entries"]

    bought = f"/credits/purchases/{purchase}"
    answer = f"/consultations/{generation.consultation_id}#message-{generation.answer_id}"
    assert [(line["kind"], line["amount_mc"], line["link"], line["reason"]) for line in lines] == [
        ("usage", -700, answer, None),
        ("promotion", 1_000, None, "Welcome"),
        ("refund", -50_000, bought, None),
        ("restored", 100_000, bought, None),
        ("dispute", -100_000, bought, None),
        ("purchase", 500_000, bought, None),
    ]
    assert [line["expires_at"] for line in lines] == [None, ENDS.isoformat(), None, None, None, None]
    assert lines[0]["what"] == "General advisor"


async def test_lines_are_filtered_and_page_on(
    browser: Client, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    for number in range(60):
        await adjust(account_id, 1_000 + number, "Some")
    await adjust(account_id, -500, "Less")

    first = await read(browser, "/api/credits/entries?kind=grant", account_id)
    rest = await read(browser, f"/api/credits/entries?kind=grant&after={first['next']}", account_id)
    of_today = await read(browser, f"/api/credits/entries?kind=correction&from={today}&to={today}", account_id)
    earlier = await read(browser, f"/api/credits/entries?to={today - timedelta(days=1)}", account_id)

    amounts = [line["amount_mc"] for line in first["entries"] + rest["entries"]]
    assert amounts == [1_000 + number for number in reversed(range(60))]
    assert rest["next"] is None
    assert [line["amount_mc"] for line in of_today["entries"]] == [-500]
    assert earlier == {"entries": [], "next": None}


@pytest.mark.parametrize("asked", ["kind=nothing", "from=yesterday", "to=2026-02-30", "from=2026-W01-1", "after=x"])
async def test_a_filter_that_says_nothing_is_refused(browser: Client, account_id: UUID, asked: str) -> None:
    headers = await sign_in(account_id)

    assert (await browser.get(f"/api/credits/entries?{asked}", headers=headers)).status_code == 400


@pytest.mark.parametrize("reason", ['=HYPERLINK("http://evil","x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "＝1", " =1"])
def test_a_cell_that_would_be_a_formula_is_text(reason: str) -> None:
    assert safe(reason) == f"'{reason}"


def test_numbers_and_words_are_cells_as_they_are() -> None:
    assert [safe(cell) for cell in (-5, "-0.250", "12", "General advisor", "")] == [
        "-5", "-0.250", "12", "General advisor", "",
    ]  # fmt: skip
    assert csv_line(["a,b", 'say "x"']) == '"a,b","say ""x"""\r\n'
    assert (plain_credits(-250), plain_credits(1_312)) == ("-0.250", "1.312")


async def test_the_csv_has_all_lines_and_no_formula(
    browser: Client, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.credits.CSV_PAGE", 2)
    await adjust(account_id, 5_000, "Grüße, 你好")
    await adjust(account_id, -1_250, '=HYPERLINK("http://evil.example")')
    for _ in range(3):
        await adjust(account_id, 1_000, "More")

    answer = await browser.get("/api/credits/entries.csv", headers=await sign_in(account_id))
    filtered = await browser.get("/api/credits/entries.csv?kind=correction", headers=await sign_in(account_id))

    content = await answer.get_data(as_text=False)
    assert answer.mimetype == "text/csv"
    assert content.startswith(b"\xef\xbb\xbftime,kind,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert [row["credits"] for row in rows] == ["1.000", "1.000", "1.000", "-1.250", "5.000"]
    assert [row["balance_after_mc"] for row in rows] == ["6750", "5750", "4750", "3750", "5000"]
    assert [row["reason"] for row in rows[3:]] == ['\'=HYPERLINK("http://evil.example")', "Grüße, 你好"]
    assert all(datetime.fromisoformat(row["time"]).tzinfo == UTC for row in rows)
    assert (await filtered.get_data(as_text=True)).count("\r\n") == 2


async def test_months_add_up_to_the_balance(browser: Client, account_id: UUID) -> None:
    await adjust(account_id, 5_000, "Some")
    await adjust(account_id, -1_250, "Less")

    [month] = (await read(browser, "/api/credits/months", account_id))["months"]

    assert month == {
        "month": f"{datetime.now(UTC):%Y-%m}", "opening_mc": 0, "in_mc": 5_000, "used_mc": 1_250,
        "returned_mc": 0, "expired_mc": 0, "closing_mc": 3_750,
    }  # fmt: skip


async def test_what_expires_next_is_named(browser: Client, account_id: UUID) -> None:
    nothing = await read(browser, "/api/credits", account_id)
    await adjust(account_id, 3_000, "Later", expires_at=ENDS + timedelta(days=1))
    await adjust(account_id, 2_000, "Sooner", expires_at=ENDS)

    assert nothing["next_expiry"] is None
    assert (await read(browser, "/api/credits", account_id))["next_expiry"] == {
        "amount_mc": 2_000, "at": ENDS.isoformat(),
    }  # fmt: skip


async def test_an_answer_has_a_receipt_of_its_own(browser: Client, rich_id: UUID) -> None:
    generation = await make_answered(rich_id)

    receipt = await read(browser, f"/api/messages/{generation.answer_id}/receipt", rich_id)

    assert receipt == await read(browser, f"/api/messages/{generation.question_id}/receipt", rich_id)
    assert (receipt["prompt_tokens"], receipt["completion_tokens"], receipt["usage_estimated"]) == (100, 200, False)
    assert (receipt["hold_mc"], receipt["cost_mc"]) == (generation.hold_mc, 700)
    assert (receipt["price"]["service"], receipt["price"]["version"]) == ("general-advisor", 1)
    assert datetime.fromisoformat(receipt["asked_at"]) <= datetime.fromisoformat(receipt["ended_at"])


async def test_an_answer_of_somebody_else_has_none(browser: Client, rich_id: UUID) -> None:
    generation = await make_answered(rich_id)
    async with transaction() as session:
        somebody = await make_account(session)

    for message in (generation.answer_id, generation.question_id, uuid4()):
        answer = await browser.get(f"/api/messages/{message}/receipt", headers=await sign_in(somebody))
        assert answer.status_code == 404
