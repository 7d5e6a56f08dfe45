"""Medians, and how sure we may be of them."""

import random
import statistics
from collections.abc import Sequence

RESAMPLES = 10_000
ENOUGH_FOR_P99 = 1000

Interval = tuple[float, float, float]  # the median, and the bounds of its 95 % confidence interval


def median_with_interval(values: Sequence[float]) -> Interval:
    """By bootstrap over rounds; the same for the same values."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975)]
    return statistics.median(values), low, high


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def p99(values: Sequence[float]) -> float | None:
    """None when there are too few values for it to mean something."""
    return percentile(values, 0.99) if len(values) >= ENOUGH_FOR_P99 else None


def rounded(value: object, digits: int = 4) -> object:
    """The same, with its floats short enough to read."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one, digits) for one in value]
    return value


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """As people read it, and as Markdown."""
    cells = [list(head), *[[_shown(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
    return str(cell)
