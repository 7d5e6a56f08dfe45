"""The archive: what was done on each day, by numbers alone, in a blob that is written once and kept for 365 days.

`2026-11-23.jsonl` has a line for each entry, and each line begins with the hash of the line before; the first one with
that of the last line of the day before. So a line that was changed, taken out or put in is found (`verify`). Nobody's
name, address or words get in: what cannot be changed cannot be erased either (docs/decisions/0021).
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import asyncpg
import orjson

from core.direct import driver_options
from core.media import blobs
from core.media.blobs import AlreadyThere, Room
from core.privacy.registry import KINDS, DataClass
from core.settings import settings

KEPT = KINDS[DataClass.ARCHIVE].kept or timedelta()
LATE = timedelta(minutes=5)  # into the next day, somebody who began may still write of this one
SETTLED = timedelta(minutes=15)
NOTHING = "0" * 64  # before the first line of all
AT_A_TIME = 500  # rows

# What is archived of a table: queries over :first and :next, moments. Objects of the log are named by kind and number
# only, for some are addresses.
SOURCES = {
    "audit_entries": """
        select id, at, actor_id, account_id, action, outcome, request_id,
               case when object ~ '^[a-z_-]+(:[0-9A-Za-z_-]+)?$' then object else '' end as object
        from audit_entries where at >= $1 and at < $2 order by id""",
    "credit_entries": """
        select id, created_at as at, account_id, amount_mc, balance_after_mc, kind, source
        from credit_entries where created_at >= $1 and created_at < $2 order by id""",
    "purchases": """
        select id, created_at, paid_at, account_id, bundle, credits_mc, amount_minor, currency, state, reversed_minor,
               stripe_session_id, stripe_payment_intent_id
        from purchases where (created_at >= $1 and created_at < $2) or (paid_at >= $1 and paid_at < $2) order by id""",
    "refunds": """
        select id, created_at, updated_at, purchase_id, stripe_refund_id, origin, amount_minor, state
        from refunds where updated_at >= $1 and updated_at < $2 order by id""",
    "disputes": """
        select id, created_at, updated_at, purchase_id, amount_minor, status
        from disputes where updated_at >= $1 and updated_at < $2 order by id""",
    "receipts": """
        select number, issued_at as at, purchase_id from receipts where issued_at >= $1 and issued_at < $2
        order by number""",
    "stripe_events": """
        select id, received_at as at, type, handled_at, outcome
        from stripe_events where received_at >= $1 and received_at < $2 order by received_at, id""",
    "mail_deliveries": """
        select id, created_at as at, account_id, template, state, sent_at
        from mail_deliveries where created_at >= $1 and created_at < $2 order by id""",
}


@dataclass(frozen=True)
class Archived:
    """locked: whether the store itself keeps it from being changed before its end."""

    day: date
    lines: int
    locked: bool


@dataclass(frozen=True)
class Flaw:
    """line: of the day's blob, from 1; 0: the day itself."""

    day: date
    line: int
    what: str


def name_of(day: date) -> str:
    return f"{day}.jsonl"


def ends(day: date) -> datetime:
    """When the archive of a day goes: its last entry is 365 days old then, leap years or not."""
    return midnight(day + timedelta(days=1)) + KEPT


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


async def days() -> list[date]:
    """The days that are archived, the oldest first."""
    return [date.fromisoformat(one.name[:10]) async for page in blobs.pages(Room.ARCHIVE) for one in page]


async def make_up(*, now: datetime) -> list[Archived]:
    """Archive each whole day after the last one that is, in order; two at once do no harm.

    A day waits as long as somebody who began in it has not ended: what they write is of that day.
    Raises StorageAway, NoStorage.
    """
    made: list[Archived] = []
    connection = await asyncpg.connect(**driver_options(settings().database_url))
    try:
        await connection.execute("set timezone = 'UTC'; set statement_timeout = 0")
        there = await days()
        day = there[-1] + timedelta(days=1) if there else await _first_day(connection, now=now)
        previous = await _last_hash(there[-1]) if there else NOTHING
        while await _is_over(connection, day, now=now):
            lines = Lines(previous)
            try:
                await blobs.write(
                    Room.ARCHIVE, name_of(day), _content(connection, day, lines), kind="application/jsonl", once=True
                )
            except AlreadyThere:
                return made  # another is at it
            locked = await blobs.lock(Room.ARCHIVE, name_of(day), until=ends(day))
            made.append(Archived(day, lines.count, locked))
            previous, day = lines.hash, day + timedelta(days=1)
    finally:
        await connection.close(timeout=5)
    return made


async def _first_day(connection: "asyncpg.Connection[Any]", *, now: datetime) -> date:
    """Of a house whose archive begins: that of its oldest entry which is not past its term."""
    oldest = await connection.fetchval("select min(at) from audit_entries where at >= $1", now - KEPT)
    return (oldest or now).astimezone(UTC).date()


async def _is_over(connection: "asyncpg.Connection[Any]", day: date, *, now: datetime) -> bool:
    """Whether nothing can be added to a day any more."""
    end = midnight(day + timedelta(days=1))
    if now < end + SETTLED:
        return False
    open_since = await connection.fetchval(
        "select min(xact_start) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return open_since is None or open_since >= end + LATE


class Lines:
    """Makes lines, each with the hash of the one before."""

    def __init__(self, previous: str) -> None:
        self.hash, self.count = previous, 0

    def make(self, source: str, entry: bytes) -> bytes:
        """entry: JSON."""
        line = b'{"previous":"%s","of":"%s","entry":%s}' % (self.hash.encode(), source.encode(), entry)
        self.hash, self.count = hashlib.sha256(line).hexdigest(), self.count + 1
        return line + b"\n"


async def _content(connection: "asyncpg.Connection[Any]", day: date, lines: Lines) -> AsyncIterator[bytes]:
    first, after = midnight(day), midnight(day + timedelta(days=1))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for source, query in SOURCES.items():
            rows = connection.cursor(
                f"select row_to_json(one)::text from ({query}) one",  # noqa: S608  # a query of ours
                first,
                after,
                prefetch=AT_A_TIME,
            )
            async for (entry,) in rows:
                yield lines.make(source, entry.encode())
    yield lines.make("end", orjson.dumps({"day": str(day), "lines": lines.count}))


async def lines_of(day: date) -> AsyncIterator[bytes]:
    """Each line of a day, without its end. Raises NoSuchBlob."""
    _, chunks = await blobs.fetch(Room.ARCHIVE, name_of(day))
    held = b""
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line
    if held:
        yield held


async def _last_hash(day: date) -> str:
    last = b""
    async for line in lines_of(day):
        last = line
    return hashlib.sha256(last).hexdigest()


async def verify() -> AsyncIterator[Flaw]:
    """All that does not fit. The first day that is left cannot tell whether the days before it were as they should."""
    there = await days()
    previous: str | None = None
    for number, day in enumerate(there):
        if number and day != there[number - 1] + timedelta(days=1):
            yield Flaw(there[number - 1] + timedelta(days=1), 0, "is missing")
            previous = None
        count, ended, before = 0, False, day - timedelta(days=1)
        async for line in lines_of(day):
            count += 1
            told = _read(line)
            if told is None or ended:
                yield Flaw(day, count, "is not a line of the archive")
            elif previous is not None and told["previous"] != previous:
                yield Flaw(
                    *((day, count - 1) if count > 1 else (before, 0)), "was changed, or what followed it was taken out"
                )
            if told is not None and told["of"] == "end":
                ended = True
                if told["entry"] != {"day": str(day), "lines": count - 1}:
                    yield Flaw(day, count, "counts other lines than there are")
            previous = hashlib.sha256(line).hexdigest()
        if not ended:
            yield Flaw(day, count, "is not the end of the day")


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) and {"previous", "of", "entry"} == set(told) else None


async def forget(*, now: datetime) -> int:
    """Delete the days that are past their term, how many."""
    gone = 0
    for day in await days():
        if ends(day) <= now:
            gone += await blobs.erase(Room.ARCHIVE, name_of(day))
    return gone
