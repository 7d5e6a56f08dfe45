"""A receipt as PDF: any name can be read, the same facts are the same file."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.billing import receipt_pdf
from core.billing.receipt_pdf import LETTERS, Returned, Sold, legible, render

SOLD = Sold(
    shown_number="CC-000123",
    issued_at=datetime(2026, 5, 3, 12, tzinfo=UTC),
    paid_at=datetime(2026, 5, 3, 11, tzinfo=UTC),
    buyer_name="Ada Byron",
    buyer_email="ada@example.org",
    bundle_name="Plus",
    credits_mc=1_650_000,
    amount_minor=1_500,
    currency="usd",
    payment="pi_123",
    purchase="0198f0aa-0000-7000-8000-000000000000",
)
SELLER = "Clofy GmbH; Hauptstraße 1; 10115 Berlin"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is put on the pages, in order."""
    words: list[str] = []

    class Listening(receipt_pdf.Canvas):  # type: ignore[misc, name-defined]  # reportlab has no types
        def drawString(self, x: float, y: float, text: str, **how: Any) -> None:  # noqa: N802  # reportlab's name
            words.append(text)
            super().drawString(x, y, text, **how)

        def drawRightString(self, x: float, y: float, text: str, **how: Any) -> None:  # noqa: N802  # reportlab's name
            words.append(text)
            super().drawRightString(x, y, text, **how)

        def showPage(self) -> None:  # noqa: N802  # reportlab's name
            words.append("-- end of page --")
            super().showPage()

    monkeypatch.setattr(receipt_pdf, "Canvas", Listening)
    return words


@pytest.mark.parametrize(
    "name", ["Łukasz Żółć", "Ελένη Παπαδοπούλου", "Юлия Щёкина", "Nguyễn Thị Ánh", "Åse Ø. Þórðardóttir"]
)
def test_latin_greek_and_cyrillic_names_are_embedded(name: str) -> None:
    assert legible(name) == (name, LETTERS)


@pytest.mark.parametrize(
    ("name", "font"),
    [
        ("李明", "STSong-Light"),
        ("やまだ 太郎", "HeiseiKakuGo-W5"),
        ("ﾔﾏﾀﾞ", "HeiseiKakuGo-W5"),
        ("김민수", "HYSMyeongJo-Medium"),
    ],
)
def test_east_asian_names_have_a_font_that_has_all_of_their_letters(name: str, font: str) -> None:
    assert legible(name) == (name, font)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("דוד לוי", "dvd lvy"),
        ("محمد", "mhmd"),
        ("सीता", "sita"),
        ("Şule 李", "Şule Li"),
        ("Ada\n\u202eB", "Ada  B"),
    ],
)
def test_other_letters_are_written_as_they_sound(name: str, text: str) -> None:
    assert legible(name) == (text, LETTERS)


def test_a_decomposed_name_is_composed() -> None:
    assert legible("A\u030ase") == ("Åse", LETTERS)


def test_a_receipt_says_who_what_when_and_how_much(written: list[str]) -> None:
    file = render(SOLD, seller=SELLER)

    assert file.startswith(b"%PDF-")
    for words in ("Receipt CC-000123", "Clofy GmbH", "Hauptstraße 1", "10115 Berlin", "Ada Byron", "ada@example.org",
                  "3 May 2026", "Plus: 1,650 credits", "$15.00", "pi_123", SOLD.purchase):  # fmt: skip
        assert words in written
    assert not any("Refund" in words for words in written)


def test_what_was_returned_is_taken_off(written: list[str]) -> None:
    on = datetime(2026, 6, 1, tzinfo=UTC)
    back = (Returned(on, "Refunded", 500), Returned(on, "Refund on its way", 250))

    render(replace(SOLD, returned=back), seller=SELLER)

    assert written.index("Refunded, 1 June 2026") + 1 == written.index("-$5.00")
    assert written[written.index("Paid after what was returned") + 1] == "$7.50"


def test_the_same_facts_are_the_same_file() -> None:
    assert render(SOLD, seller=SELLER) == render(SOLD, seller=SELLER)
    assert render(SOLD, seller=SELLER) != render(replace(SOLD, amount_minor=1_501), seller=SELLER)


def test_a_name_without_end_and_many_refunds_stay_on_the_paper(written: list[str]) -> None:
    back = tuple(Returned(SOLD.paid_at, f"Refunded ({n})", 1) for n in range(60))

    render(replace(SOLD, buyer_name="W" * 300, returned=back), seller=SELLER)

    assert "".join(words for words in written if set(words) == {"W"}) == "W" * 300
    assert max(len(words) for words in written if set(words) == {"W"}) < 30
    assert written.count("-- end of page --") == 3
    assert sum(words.startswith("Refunded (") for words in written) == 60
