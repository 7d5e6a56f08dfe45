"""Daily copies of the database: a sealed blob for each table, and one for the words of each day.

A copy lies under its day, as `2026-11-24/<attempt>/rows/accounts`, and is one as soon as there is a manifest,
`2026-11-24/manifest`, which names the attempt that won. It goes when it is 30 days old. Words go before: those of a day
leave all copies when they leave the database, so that none is older than the policy says (docs/decisions/0020).
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson

from core.direct import driver_options
from core.media import blobs
from core.media.blobs import AlreadyThere, NoSuchBlob, Room
from core.privacy.registry import KINDS, DataClass
from core.privacy.tables import TABLES
from core.sealing import seal_stream, unseal_stream
from core.settings import settings

KEPT = KINDS[DataClass.SNAPSHOT].kept or timedelta()
WORDS = next(table for table in TABLES if table.name == "message_texts")
WORDS_KEPT = WORDS.ends.after if WORDS.ends else timedelta()
MANIFEST = "manifest"
WAITING = 8  # pieces of a table that may wait for the storage
# What must not come back: who was signed in, what had been asked for once, and what a fresh database has anyway.
LEFT_OUT = frozenset(
    {
        "web_sessions",
        "account_codes",
        "email_codes",
        "sign_in_attempts",
        "passkey_challenges",
        "kept_answers",
        "limit_counts",
        "restores",
        "alembic_version",
        WORDS.name,
    }
)


@dataclass(frozen=True)
class Part:
    """A table, or the words of a day. sum: over hashes of its rows, in whatever order they come."""

    name: str
    blob: str
    columns: tuple[str, ...]
    rows: int
    sum: str
    day: date | None = None


@dataclass(frozen=True)
class Manifest:
    day: date
    taken_at: datetime
    revision: str  # of the migrations
    tables: tuple[Part, ...]  # each after those that it points to
    words: tuple[Part, ...]
    sequences: tuple[tuple[str, int], ...]  # the last value that each gave


def rows_of(name: str, columns: Sequence[str], day: date | None = None) -> str:
    """A query for the rows of a part."""
    listed = ", ".join(f'"{column}"' for column in columns)
    return f'select {listed} from "{name}"' + (f" where said_on = date '{day}'" if day else "")  # noqa: S608  # names of our tables


def sum_of(name: str, columns: Sequence[str], day: date | None = None) -> str:
    """A query for how many rows a part has, and their sum: hashes added up, so that no order is needed."""
    rows = rows_of(name, columns, day)
    return f"select count(*), coalesce(sum(hashtextextended(part::text, 0)), 0)::text from ({rows}) part"  # noqa: S608  # as above


async def take(*, now: datetime) -> Manifest | None:
    """Copy the database of this process. None if there is a copy of today. Two at once: one of them counts.

    The rows are of one moment; a day's words are read after them, each in a transaction of its own, so that a purge
    that drops a day waits for one day at most. Raises StorageAway, NoStorage.
    """
    day = now.astimezone(UTC).date()
    if day in await days():
        return None
    folder = f"{day}/{uuid4().hex[:12]}"
    connection = await asyncpg.connect(**driver_options(settings().database_url))
    try:
        await connection.execute("set timezone = 'UTC'; set statement_timeout = 0")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            taken_at = await connection.fetchval("select now()")
            revision = await connection.fetchval("select version_num from alembic_version")
            tables = [
                await _copy(connection, folder, name, await _columns(connection, name))
                for name in (table.name for table in TABLES)
                if name not in LEFT_OUT
            ]
            sequences = await _sequences(connection)
        columns = await _columns(connection, WORDS.name)
        words = []
        for said_on in await _days_of_words(connection, today=day):
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                words.append(await _copy(connection, folder, WORDS.name, columns, said_on))
    finally:
        await connection.close(timeout=5)
    made = Manifest(day, taken_at, revision, tuple(tables), tuple(words), tuple(sequences))
    try:
        await _put(f"{day}/{MANIFEST}", _once(orjson.dumps(asdict(made))), once=True)
    except AlreadyThere:
        await _drop(f"{folder}/")
        return None
    return made


async def _copy(
    connection: "asyncpg.Connection[Any]", folder: str, name: str, columns: tuple[str, ...], day: date | None = None
) -> Part:
    blob = f"{folder}/words/{day}" if day else f"{folder}/rows/{name}"
    count, total = await connection.fetchrow(sum_of(name, columns, day)) or (0, "0")
    await _put(blob, _copied(connection, rows_of(name, columns, day)))
    return Part(name, blob, columns, count, total, day)


async def _copied(connection: "asyncpg.Connection[Any]", query: str) -> AsyncIterator[bytes]:
    """What COPY gives, no faster than it is taken."""
    waiting: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
    failed: list[Exception] = []

    async def copy() -> None:
        try:
            await connection.copy_from_query(query, output=waiting.put)
        except Exception as error:  # raised where the pieces are taken
            failed.append(error)
        await waiting.put(None)

    copying = asyncio.create_task(copy())
    try:
        while (chunk := await waiting.get()) is not None:
            yield chunk
        if failed:
            raise failed[0]
    finally:
        copying.cancel()
        with suppress(asyncio.CancelledError):
            await copying


async def _columns(connection: "asyncpg.Connection[Any]", table: str) -> tuple[str, ...]:
    """Without those that are worked out of others."""
    found = await connection.fetch(
        "select attname::text from pg_attribute"
        " where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''"
        " order by attnum",
        table,
    )
    return tuple(name for (name,) in found)


async def _sequences(connection: "asyncpg.Connection[Any]") -> list[tuple[str, int]]:
    found = await connection.fetch(
        "select sequencename::text, last_value from pg_sequences where schemaname = 'public' and last_value is not null"
    )
    return [(name, value) for name, value in found]


async def _days_of_words(connection: "asyncpg.Connection[Any]", *, today: date) -> list[date]:
    """Days whose words are not due yet."""
    found = await connection.fetch(
        "select day::date from generate_series($1::date, $2::date, interval '1 day') day"
        " where exists (select from message_texts where said_on = day::date)",
        today - WORDS_KEPT + timedelta(days=1),
        today + timedelta(days=1),
    )
    return [day for (day,) in found]


async def _put(name: str, chunks: AsyncIterator[bytes], *, once: bool = False) -> None:
    await blobs.write(Room.SNAPSHOTS, name, seal_stream(name, _squeezed(chunks)), once=once)


async def content(name: str) -> AsyncIterator[bytes]:
    """A blob of a copy, opened. Raises NoSuchBlob, NotOurs."""
    _, chunks = await blobs.fetch(Room.SNAPSHOTS, name)
    opener = zlib.decompressobj()
    async for chunk in unseal_stream(name, chunks):
        squeezed = chunk
        while squeezed:
            yield opener.decompress(squeezed, blobs.BLOCK)
            squeezed = opener.unconsumed_tail
    yield opener.flush()


async def _squeezed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    squeezer = zlib.compressobj(1)
    async for chunk in chunks:
        yield squeezer.compress(chunk)
    yield squeezer.flush()


async def _once(whole: bytes) -> AsyncIterator[bytes]:
    yield whole


async def days() -> list[date]:
    """The days of which there is a whole copy, the oldest first."""
    return [
        day
        async for page in blobs.pages(Room.SNAPSHOTS)
        for one in page
        if one.name.endswith(f"/{MANIFEST}") and (day := _day(one.name.partition("/")[0])) is not None
    ]


async def manifest(day: date) -> Manifest:
    """What there is of a day. Raises NoSuchBlob, NotOurs."""
    told = orjson.loads(b"".join([chunk async for chunk in content(f"{day}/{MANIFEST}")]))
    return Manifest(
        day=date.fromisoformat(told["day"]),
        taken_at=datetime.fromisoformat(told["taken_at"]),
        revision=told["revision"],
        tables=tuple(_part(one) for one in told["tables"]),
        words=tuple(_part(one) for one in told["words"]),
        sequences=tuple((name, value) for name, value in told["sequences"]),
    )


def _part(told: dict[str, Any]) -> Part:
    day = date.fromisoformat(told["day"]) if told["day"] else None
    return Part(told["name"], told["blob"], tuple(told["columns"]), told["rows"], told["sum"], day)


async def forget(*, now: datetime) -> int:
    """Delete what is due of the copies, how many blobs; twice does no harm."""
    gone = 0
    today = now.astimezone(UTC).date()
    async for page in blobs.pages(Room.SNAPSHOTS):
        for one in page:
            if is_due(one.name, today=today):
                gone += await blobs.erase(Room.SNAPSHOTS, one.name)
    return gone


def is_due(name: str, *, today: date) -> bool:
    """Whether a blob of a copy has to go: the copy is 30 days old, or the words in it are."""
    day = _day(name.partition("/")[0])
    if day is not None and day <= today - KEPT:
        return True
    _, words, said_on = name.partition("/words/")
    return bool(words) and words_are_due(date.fromisoformat(said_on), today=today)


def words_are_due(said_on: date, *, today: date) -> bool:
    """As the database itself drops them (core/consultations/partitions.py)."""
    return said_on <= today - WORDS_KEPT


async def _drop(begins: str) -> None:
    async for page in blobs.pages(Room.SNAPSHOTS, begins=begins):
        for one in page:
            with suppress(NoSuchBlob):
                await blobs.erase(Room.SNAPSHOTS, one.name)


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
