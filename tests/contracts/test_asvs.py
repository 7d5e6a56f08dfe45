"""docs/security/asvs.md leaves out no requirement, and what it cites is there."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

from tests.contracts.deployment import ROOT

TABLE = (ROOT / "docs" / "security" / "asvs.md").read_text()
# The level of each requirement of ASVS 5.0.0, section by section in their order; those of level 3 are not in the table.
LEVELS = {
    "1": "22 1111122223 112222222223 222 123",
    "2": "122 112 12223 23",
    "3": "3 113 12223 11222233 11122333 3 22333",
    "4": "12233 23333 22 1222",
    "5": "2 112333 113 222",
    "6": "122 111111112222 11223333 112233 22222333 2223 33 2222",
    "7": "222 1111 22 11222 223 22",
    "8": "1233 1123 133 23",
    "9": "111 1222",
    "10": "22 223 22223 1111122222233333 22222 22 222",
    "11": "2233 22233 11233 1222 23 23 33",
    "12": "12233 11 22223",
    "13": "2333 222223 2233 1222233",
    "14": "22 12223333 122",
    "15": "12233 12233 1222222 3333",
    "16": "2 22222 2222 222 2223",
    "17": "23 22223333 22",
}
VERDICTS = ("met", "partly", "not met", "not applicable")
CITED = re.compile(r"`([\w.-]+/[\w./-]+\.\w+|[\w-]+\.(?:yml|lock|md))(?:::(\w+))?`")


@dataclass(frozen=True)
class Row:
    number: str
    level: str
    verdict: str
    where: str
    tests: str


def rows() -> list[Row]:
    found = []
    for line in TABLE.splitlines():
        if re.match(r"\| \d", line):
            _, number, level, _, verdict, where, tests, _ = (cell.strip() for cell in line.split("|"))
            found.append(Row(number, level, verdict, where, tests))
    return found


@cache
def text_of(path: str) -> str | None:
    file = ROOT / path
    return file.read_text() if file.is_file() else None


def defines(path: str, name: str) -> bool:
    """Whether a function, class or constant of this name is made in the file."""
    made = rf"^\s*(?:(?:export )?(?:async )?(?:def|class|function|const) {name}\b|{name}\s*[:=])"
    return re.search(made, text_of(path) or "", re.MULTILINE) is not None


def test_each_requirement_of_levels_one_and_two_has_its_row() -> None:
    expected = [
        (f"{chapter}.{section}.{number}", level)
        for chapter, sections in LEVELS.items()
        for section, levels in enumerate(sections.split(), 1)
        for number, level in enumerate(levels, 1)
        if level in "12"
    ]

    assert [(row.number, row.level) for row in rows()] == expected
    assert len(expected) == 253


def test_each_row_has_a_verdict_and_what_is_not_met_has_its_reason() -> None:
    for row in rows():
        assert row.verdict in VERDICTS, row.number
        assert len(row.where) >= (40 if row.verdict in {"partly", "not met"} else 6), row.number
        assert row.tests == "–" or CITED.match(row.tests), row.number


def test_the_sums_above_the_table_are_those_of_the_table() -> None:
    counted = Counter(row.verdict for row in rows())
    untested = sum(row.verdict == "met" and row.tests == "–" for row in rows())
    numbers = ", ".join(f"{counted[verdict]} {verdict}" for verdict in VERDICTS)

    assert f"**Of 253: {numbers}. Of what is met, {untested} have no test.**" in TABLE


def test_what_is_cited_is_there() -> None:
    missing = {
        f"{row.number}: {path}::{name}"
        for row in rows()
        for path, name in CITED.findall(row.where)
        if text_of(path) is None or (name and not defines(path, name))
    }

    assert missing == set()


def test_each_test_that_is_cited_is_one() -> None:
    missing = {
        f"{row.number}: {path}::{name}"
        for row in rows()
        for path, name in CITED.findall(row.tests)
        if not (path.startswith("tests/") and name.startswith("test_") and defines(path, name))
    }

    assert missing == set()
    leftovers = {CITED.sub("", row.tests).strip() for row in rows()}
    assert leftovers <= {"", "–"}
