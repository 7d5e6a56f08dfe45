"""The papers that lie in a copy: what it is, what each table means, and what is in this one."""

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.privacy.registry import KINDS, Basis, Ends, Table
from core.settings import settings

if TYPE_CHECKING:
    from core.privacy.exports_content import Counts

BASES = {
    Basis.CONTRACT: "our contract with you: GDPR, article 6(1)(b)",
    Basis.DUTY: "another law tells us to: GDPR, article 6(1)(c)",
    Basis.INTEREST: "our interest in a safe service that works: GDPR, article 6(1)(f)",
    Basis.CONSENT: "your consent, which you can withdraw: GDPR, article 6(1)(a)",
    Basis.NONE: "none: nobody's data",
}
# By PostgreSQL's names; what is not here is a text.
KINDS_OF_JSON: dict[str, dict[str, Any]] = {
    "smallint": {"type": "integer"},
    "integer": {"type": "integer"},
    "bigint": {"type": "integer"},
    "double precision": {"type": "number"},
    "numeric": {"type": "number"},
    "boolean": {"type": "boolean"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "timestamp with time zone": {"type": "string", "format": "date-time"},
    "jsonb": {},
}
WORDS = """\
This is a copy of all that Clofy Cloud keeps about you, as it was on {moment}.

data/         one file for each kind of record, as JSON: an array of objects
csv/          the same records for a spreadsheet. A text that begins like a formula has an apostrophe before it.
transcripts/  your consultations, as texts to read
receipts/     your receipts, as PDF
media/        the pictures that you sent, as they are shown; data/media_files.json says which is which
schema.json   what each file in data/ has in it, as JSON Schema (json-schema.org, draft 2020-12)
manifest.json how many records each file has, and which files could not be found

Times are in UTC. Amounts named _mc are thousandths of a credit; amounts named _minor are in the smallest unit of
their currency, as cents.

What is not in it, and why:
- Your password and your codes: we keep only hashes of them. What could open your account to somebody who finds this
  file is left out as well: keys, tokens, links, secrets of an authenticator app.
- What concerns other people: who of us answered you, from where they worked.
- Copies of the same records, in our archive and our daily snapshots, which go by themselves.
- What others keep for us: Stripe has your payments, and shows them to you on request.

What each file is about, why we have it and for how long:
"""


def read_me(tables: list[Table], *, now: datetime) -> str:
    words = WORDS.format(moment=f"{now.astimezone(UTC):%-d %B %Y, %H:%M} UTC")
    return words + "".join(f"\n{_about(one)}" for one in tables) + f"\nQuestions: support@clofy.cloud, {home()}/help\n"


def home() -> str:
    return settings().public_url


def _about(table: Table) -> str:
    kind = KINDS[table.of]
    lines = [
        f"{kind.holds}.",
        f"Why: {kind.purpose}. Basis: {BASES[kind.basis]}.",
        f"Kept: {term(table)}.",
    ]
    body = "\n".join(textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="  ") for line in lines)
    return f"{table.name} ({table.of})\n{body}\n"


def term(table: Table) -> str:
    """How long its rows are kept, in words."""
    if table.ends is not None:
        return _ends(table.ends)
    kept = KINDS[table.of].kept
    return f"{kept.days:,} days" if kept is not None else "as long as you have your account"


def _ends(ends: Ends) -> str:
    days = ends.after.days
    since = ends.since.replace("_", " ")
    if not ends.after:
        return f"until {since}"
    return f"{days} day{'' if days == 1 else 's'} from {since}"


def schema(tables: list[Table], types: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A JSON Schema with a definition for each file of data/."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "All that Clofy Cloud keeps about one person",
        "description": "data/<name>.json is an array as $defs/<name> says",
        "$defs": {one.name: _schema_of(one, types[one.name]) for one in tables},
    }


def _schema_of(table: Table, types: dict[str, str]) -> dict[str, Any]:
    kind, columns = KINDS[table.of], table.given.split()
    return {
        "description": kind.holds,
        "class": table.of,
        "purpose": kind.purpose,
        "basis": BASES[kind.basis],
        "kept": term(table),
        "type": "array",
        "items": {
            "type": "object",
            "properties": {column: _kind_of(types[column]) for column in columns},
            "required": columns,
            "additionalProperties": False,
        },
    }


def _kind_of(column: str) -> dict[str, Any]:
    """As JSON Schema has it, of a type as core/privacy/exports_tables.py writes it."""
    name = column.rstrip("?")
    if name.endswith("[]"):
        shape: dict[str, Any] = {"type": "array", "items": _kind_of(name.removesuffix("[]"))}
    else:
        shape = KINDS_OF_JSON.get(name, {"type": "string"})
    if column.endswith("?") and "type" in shape:
        shape = {**shape, "type": [shape["type"], "null"]}
    return shape


def manifest(counts: "Counts", *, now: datetime) -> dict[str, Any]:
    return {
        "made_at": now.astimezone(UTC).isoformat(),
        "records": counts.tables,
        "not_found": counts.not_found,
    }
