"""What a copy asks of the database: rows as JSON and as cells of a spreadsheet, by the registry; $1 is the account."""

from typing import Any

from core.privacy.registry import Table
from core.privacy.tables import OF_MEDIA
from core.privacy.tables_money import OF_PURCHASE

# COPY as CSV, with a quote and a separator that JSON never has in it: each row comes as it is, on a line of its own.
WHOLE_LINES: dict[str, Any] = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}

SPACES = "".join(one for one in map(chr, range(0x3001)) if one.isspace())  # Unicode has none above U+3000
TABS = "\t\r\n"
SIGNS = "=+-@＝＋－＠"
TEXTS = frozenset({"text", "character varying", "character"})

COLUMNS = """
    select relname, attname, format_type(atttypid, atttypmod), attnotnull
    from pg_attribute join pg_class on pg_class.oid = attrelid
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and attnum > 0 and not attisdropped
"""

# What was said, in its order. Words that are thirty days old are gone, and so is a consultation that has no others.
CONSULTATIONS = """
    select consultations.id, services.slug, services.name as service, consultations.created_at as began, role,
        messages.created_at as said, text
    from consultations
    join services on services.id = service_id
    join messages on consultation_id = consultations.id
    join message_texts on message_texts.said_on = messages.said_on and message_id = messages.id
    where account_id = $1
    order by consultations.id, messages.id
"""


def _of_account(condition: str) -> str:
    return condition.replace(":account", "$1")


RECEIPTS = f"select number from receipts where {_of_account(OF_PURCHASE)} order by number"  # noqa: S608  # ours
PICTURES = f"select distinct name from media_files where {_of_account(OF_MEDIA)} order by name"  # noqa: S608  # ours


async def types(driver: Any) -> dict[str, dict[str, str]]:
    """The type of each column, by table, as PostgreSQL calls it; with a question mark if it may be null."""
    found: dict[str, dict[str, str]] = {}
    for table, column, kind, required in await driver.fetch(COLUMNS):
        found.setdefault(table, {})[column] = kind if required else f"{kind}?"
    return found


def json_rows(table: Table) -> str:
    """One object for each row, with the columns that are given."""
    cells = ", ".join(_cell(table, column) for column in table.given.split())
    return f"select row_to_json(one) from (select {cells} {_from(table)}) as one"  # noqa: S608  # names of the registry


def csv_rows(table: Table, types: dict[str, str]) -> str:
    """The same rows; no text of anybody begins like a formula (web/csv_lines.py has the same rule)."""
    cells = [
        f"{safe(f'one.{column}')} as {column}" if types[column].rstrip("?") in TEXTS else column
        for column in table.given.split()
    ]
    inner = ", ".join(_cell(table, column) for column in table.given.split())
    return f"select {', '.join(cells)} from (select {inner} {_from(table)}) as one"  # noqa: S608  # names of the registry


def _cell(table: Table, column: str) -> str:
    return f"{table.given_as[column]} as {column}" if column in table.given_as else f"{table.name}.{column}"


def _from(table: Table) -> str:
    return f"from {table.name} where {_of_account(table.owner)}"


def safe(cell: str) -> str:
    """A cell behind an apostrophe, if it begins like a formula and is no number; an expression in SQL.

    It looks at the first letter first, which costs nothing; the rest takes the whole text apart.
    """
    spaces, tabs, signs = (_literal(one) for one in (SPACES, TABS, SIGNS))
    begin = f"left({cell}, length({cell}) - length(ltrim({cell}, {spaces})) + 1)"
    is_formula = (
        f"strpos({spaces} || {signs}, left({cell}, 1)) > 0 and translate({begin}, {tabs} || {signs}, '') <> {begin}"
        f" and {cell} !~ '^-?[0-9]+(\\.[0-9]+)?$'"
    )
    return f"case when {is_formula} then '''' || {cell} else {cell} end"


def _literal(text: str) -> str:
    return "U&'" + "".join(f"\\{ord(one):04x}" for one in text) + "'"
