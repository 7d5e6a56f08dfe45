"""Lines of CSV that a spreadsheet takes for what they are: no text of anybody becomes a formula."""

import csv
import io
import re
from collections.abc import Iterable

CSV = "text/csv; charset=utf-8"
NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
FORMULA = re.compile(
    r"\s*[=+\-@\t\r\n＝＋－＠]"
)  # OWASP, "CSV Injection"; the wide ones count in East Asian spreadsheets


def safe(cell: str | int) -> str:
    """A cell as it is, if it is a number or begins like no formula; else behind an apostrophe, as text."""
    text = str(cell)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def csv_line(cells: Iterable[str | int]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow([safe(cell) for cell in cells])
    return line.getvalue()


def plain_credits(amount_mc: int) -> str:
    """Millicredits as a plain number of credits, with all three decimals."""
    whole, part = divmod(abs(amount_mc), 1000)
    return f"{'-' if amount_mc < 0 else ''}{whole}.{part:03}"
