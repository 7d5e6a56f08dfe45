"""A receipt as PDF: the same bytes for the same facts. The only file that knows reportlab."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO

import fontpkg_noto_sans
from anyascii import anyascii
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from core.billing.money import format_credits, format_money

LETTERS = "Noto Sans"  # Latin, Greek, Cyrillic and Devanagari; embedded
# East Asian letters are the reader's own, named in the file: PDF's standard sets, each with a codec that has the same
# letters, and what tells it from the next.
EAST_ASIAN = (
    ("cp932", "HeiseiKakuGo-W5", "[\u3040-\u30ff\uff66-\uff9f]"),
    ("gbk", "STSong-Light", ""),
    ("cp949", "HYSMyeongJo-Medium", ""),
)
SHAPED = ("DEVANAGARI",)  # in the font, but legible only with shaping, which reportlab does not do by itself

LEFT, BOTTOM = 62.0, 80.0  # points
RIGHT: float = A4[0] - LEFT
TOP: float = A4[1] - 76
INK, PALE, LINE, COIN = 0x10171C, 0x5B6770, 0xCDD5DA, 0xD9A021


@dataclass(frozen=True)
class Returned:
    """Money that went back to the buyer."""

    on: datetime
    what: str
    amount_minor: int


@dataclass(frozen=True)
class Sold:
    """All that a receipt says."""

    shown_number: str
    issued_at: datetime
    paid_at: datetime
    buyer_name: str
    buyer_email: str
    bundle_name: str
    credits_mc: int
    amount_minor: int
    currency: str
    payment: str  # by which the seller's bank knows it
    purchase: str
    returned: tuple[Returned, ...] = ()


@cache
def _letters() -> frozenset[str]:
    """Load the fonts, once a process. Returns what the embedded one can write."""
    font = TTFont(LETTERS, str(fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"))
    pdfmetrics.registerFont(font)
    for _, name, _ in EAST_ASIAN:
        pdfmetrics.registerFont(UnicodeCIDFont(name))
    letters = (chr(code) for code in font.face.charToGlyph)
    return frozenset(one for one in letters if not unicodedata.name(one, "").startswith(SHAPED))


def legible(text: str) -> tuple[str, str]:
    """A text and the font that can write it; letters that none has are written as they sound, in Latin ones."""
    plain = "".join(one if one.isprintable() else " " for one in unicodedata.normalize("NFC", text))
    if _letters().issuperset(plain):
        return plain, LETTERS
    for codec, font, sign in EAST_ASIAN:
        if not re.search(sign, plain):
            continue
        try:
            plain.encode(codec)
        except UnicodeEncodeError:
            continue
        return plain, font
    return "".join(one if one in _letters() else anyascii(one) for one in plain), LETTERS


def day(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y}"


class Page:
    """A page, filled from the top; rows that it has no room for begin another."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.y = TOP

    def text(self, text: str, x: float, *, size: float = 10, colour: int = INK, right: bool = False) -> None:
        words, font = legible(text)
        self.canvas.setFillColorRGB(*(part / 255 for part in colour.to_bytes(3, "big")))
        self.canvas.setFont(font, size)
        (self.canvas.drawRightString if right else self.canvas.drawString)(x, self.y, words)

    def block(self, title: str, lines: Iterable[str], x: float, width: float) -> float:
        """A titled block, its lines broken to the width; from where the page is. Returns where it ends."""
        begin = self.y
        self.text(title, x, size=8.5, colour=PALE)
        for line in lines:
            words, font = legible(line)
            for part in simpleSplit(words, font, 10, width) or [""]:
                for piece in _within(part, font, width):
                    self.y -= 15
                    self.text(piece, x)
        end, self.y = self.y, begin
        return end

    def rule(self) -> None:
        self.canvas.setStrokeColorRGB(*(part / 255 for part in LINE.to_bytes(3, "big")))
        self.canvas.setLineWidth(0.75)
        self.canvas.line(LEFT, self.y, RIGHT, self.y)

    def down(self, points: float, *, room: float = 0) -> None:
        """Go down, to another page if less than `room` would be left of this one."""
        self.y -= points
        if self.y < BOTTOM + room:
            self.canvas.showPage()
            self.y = TOP

    def row(self, label: str, amount: str, *, size: float = 10, colour: int = INK) -> None:
        self.down(20)
        self.text(label, LEFT, size=size, colour=colour)
        self.text(amount, RIGHT, size=size, colour=colour, right=True)

    def mark(self) -> None:
        """The bars and the coin of the house."""
        for x, y, width, colour in ((10, 11, 11, INK), (4, 19, 22, INK), (2, 27, 18, INK), (22, 27, 8, COIN)):
            self.canvas.setFillColorRGB(*(part / 255 for part in colour.to_bytes(3, "big")))
            self.canvas.roundRect(LEFT - 2 + x, self.y + 24 - y, width, 6, 3, stroke=0, fill=1)


def _within(text: str, font: str, width: float) -> Iterable[str]:
    """A text without spaces, cut where the line ends."""
    while pdfmetrics.stringWidth(text, font, 10) > width and len(text) > 1:
        fits = next(
            n for n in range(len(text) - 1, 0, -1) if pdfmetrics.stringWidth(text[:n], font, 10) <= width or n == 1
        )
        yield text[:fits]
        text = text[fits:]
    yield text


def render(sold: Sold, *, seller: str) -> bytes:
    """The file. seller: name, address and what else a receipt must say of who sells, semicolons between lines."""
    by = [line.strip() for line in seller.split(";") if line.strip()]
    _letters()
    file = BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1, lang="en")
    canvas.setTitle(f"Receipt {sold.shown_number}")
    canvas.setAuthor(by[0] if by else "")
    page = Page(canvas)
    page.mark()
    page.text("Clofy Cloud", LEFT + 38, size=13)
    page.text(f"Receipt {sold.shown_number}", RIGHT, size=15, right=True)
    page.y -= 52
    half = (RIGHT - LEFT) / 2 - 12
    ends = [page.block("Sold by", by, LEFT, half)]
    ends.append(page.block("Sold to", [sold.buyer_name, sold.buyer_email], LEFT + half + 24, half))
    page.y = min(ends) - 34
    ends = [page.block("Receipt of", [day(sold.issued_at)], LEFT, half)]
    ends.append(page.block("Paid on", [day(sold.paid_at)], LEFT + half + 24, half))
    page.y = min(ends) - 40
    _amounts(page, sold)
    page.down(48, room=30)
    page.block("Payment", [sold.payment], LEFT, half)
    page.block("Purchase", [sold.purchase], LEFT + half + 24, half)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def _amounts(page: Page, sold: Sold) -> None:
    page.text("What was bought", LEFT, size=8.5, colour=PALE)
    page.text("Amount", RIGHT, size=8.5, colour=PALE, right=True)
    page.y -= 8
    page.rule()
    page.row(
        f"{sold.bundle_name}: {format_credits(sold.credits_mc)} credits",
        format_money(sold.amount_minor, sold.currency),
    )
    page.y -= 12
    page.rule()
    page.row("Paid", format_money(sold.amount_minor, sold.currency), size=12)
    left = sold.amount_minor
    for one in sold.returned:
        left -= one.amount_minor
        page.row(f"{one.what}, {day(one.on)}", format_money(-one.amount_minor, sold.currency), colour=PALE)
    if sold.returned:
        page.row("Paid after what was returned", format_money(max(left, 0), sold.currency), size=12)
