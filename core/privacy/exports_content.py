"""What a person's copy has in it: the tables as the registry gives them, consultations to read, receipts, pictures.

All tables are read in one transaction that sees the database as it was at one moment. Rows come by COPY and go on as
they come; a table is never whole in memory, whatever its size.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core.billing import receipt_pdf, receipts
from core.database import transaction
from core.direct import direct
from core.errors import NotFound
from core.media import blobs
from core.media.blobs import NoSuchBlob, Room
from core.privacy import exports_papers, exports_tables
from core.privacy.exports_zip import Entry, Zip
from core.privacy.registry import Table
from core.privacy.tables import TABLES
from core.settings import settings

AT_A_TIME = 500  # messages that are fetched of the consultations: half a megabyte, as a rule
OTHER_STEPS = 3  # consultations, receipts, pictures


@dataclass
class Counts:
    """How far it is. bytes: of the zip; raw: of what is in it; missing: files that the storage did not have"""

    steps: int = 0
    steps_done: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    raw: int = 0
    missing: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    not_found: list[str] = field(default_factory=list)


Tell = Callable[[Counts], Awaitable[None]]


def given(tables: tuple[Table, ...] = TABLES) -> list[Table]:
    """The tables that a copy has."""
    return [one for one in tables if one.owner and one.given]


async def parts(account_id: UUID, *, now: datetime, counts: Counts, tell: Tell) -> AsyncGenerator[bytes]:
    """The zip of an account, as it is made. counts: is filled meanwhile; tell: is called whenever more is done"""
    into = Zip(now=now)
    async with aclosing(into.parts(Content(account_id, now, counts, tell).fill)) as made:
        async for part in made:
            yield part
    counts.bytes = into.size


class Content:
    def __init__(self, account_id: UUID, now: datetime, counts: Counts, tell: Tell) -> None:
        self.account_id, self.now, self.counts, self.tell = account_id, now, counts, tell

    async def fill(self, into: Zip) -> None:
        self.zip = into
        tables = given()
        self.counts.steps = len(tables) + OTHER_STEPS
        async with direct() as unit, unit.driver.transaction(isolation="repeatable_read", readonly=True):
            await unit.driver.execute("set local timezone = 'UTC'; set local lock_timeout = '30s'")
            types = await exports_tables.types(unit.driver)
            await into.add("README.txt", exports_papers.read_me(tables, now=self.now).encode())
            await into.add("schema.json", _json(exports_papers.schema(tables, types)))
            for table in tables:
                await self._table(unit.driver, table, types[table.name])
                await self._step()
            await self._consultations(unit.driver)
            await self._step()
            numbers = await unit.driver.fetch(exports_tables.RECEIPTS, self.account_id)
            pictures = await unit.driver.fetch(exports_tables.PICTURES, self.account_id)
        await self._receipts([row["number"] for row in numbers])
        await self._step()
        await self._pictures([row["name"] for row in pictures])
        await self._step()
        await into.add("manifest.json", _json(exports_papers.manifest(self.counts, now=self.now)))
        self.counts.files += 3  # README, schema and manifest

    async def _step(self) -> None:
        self.counts.steps_done += 1
        await self._more()

    async def _more(self) -> None:
        self.counts.bytes = self.zip.size
        await self.tell(self.counts)

    async def _table(self, driver: Any, table: Table, types: dict[str, str]) -> None:
        async with self.zip.file(f"data/{table.name}.json") as entry:
            await entry.write(b"[\n")
            lines = _Lines(entry, self._more)
            query = exports_tables.json_rows(table)
            said = await driver.copy_from_query(query, self.account_id, output=lines, **exports_tables.WHOLE_LINES)
            await entry.write(b"\n]\n")
        rows = int(said.rpartition(" ")[2])
        async with self.zip.file(f"csv/{table.name}.csv") as sheet:
            copy = _Copy(sheet, self._more)
            query = exports_tables.csv_rows(table, types)
            await driver.copy_from_query(query, self.account_id, output=copy, format="csv", header=True)
        self.counts.tables[table.name] = rows
        self.counts.rows += rows
        self.counts.files += 2
        self.counts.raw += entry.raw + sheet.raw

    async def _consultations(self, driver: Any) -> None:
        """Each as a text that is pleasant to read, in the order of its words."""
        cursor = driver.cursor(exports_tables.CONSULTATIONS, self.account_id, prefetch=AT_A_TIME)
        row = await anext(rows := aiter(cursor), None)
        while row is not None:
            consultation = row["id"]
            async with self.zip.file(f"transcripts/{row['began']:%Y-%m-%d}-{row['slug']}-{consultation}.md") as entry:
                await entry.write(f"# {row['service']}, {row['began']:%d %B %Y}\n".encode())
                while row is not None and row["id"] == consultation:
                    who = "You" if row["role"] == "question" else "Answer"
                    await entry.write(f"\n## {who}, {row['said']:%d %B %Y, %H:%M} UTC\n\n{row['text']}\n".encode())
                    row = await anext(rows, None)
            self.counts.files += 1
            self.counts.raw += entry.raw
            await self._more()

    async def _receipts(self, numbers: list[int]) -> None:
        for number in numbers:
            async with transaction() as session:
                try:
                    sold = await receipts.sold(session, number, account_id=self.account_id)
                except NotFound:  # erased meanwhile: then nobody will fetch this copy either
                    continue
            content = await asyncio.to_thread(receipt_pdf.render, sold, seller=settings().seller)
            await self.zip.add(f"receipts/{sold.shown_number}.pdf", content)
            self.counts.files += 1
            self.counts.raw += len(content)
            await self._more()

    async def _pictures(self, names: list[str]) -> None:
        for name in names:
            try:
                _, chunks = await blobs.fetch(Room.PUBLIC, name)
            except NoSuchBlob:
                self.counts.not_found.append(name)
                self.counts.missing += 1
                continue
            async with self.zip.file(f"media/{name}", packed=True) as entry:
                async for chunk in chunks:
                    await entry.write(chunk)
            self.counts.files += 1
            self.counts.raw += entry.raw
            await self._more()


class _Lines:
    """Lines of JSON on their way into an array: between two of them comes a comma."""

    def __init__(self, entry: Entry, more: Callable[[], Awaitable[None]]) -> None:
        self._entry, self._more, self._end = entry, more, b""

    async def __call__(self, data: bytes) -> None:
        ends = data.endswith(b"\n")
        body = data[:-1] if ends else data
        await self._entry.write(self._end + body.replace(b"\n", b",\n"))
        self._end = b",\n" if ends else b""
        await self._more()


class _Copy:
    def __init__(self, entry: Entry, more: Callable[[], Awaitable[None]]) -> None:
        self._entry, self._more = entry, more

    async def __call__(self, data: bytes) -> None:
        await self._entry.write(bytes(data))
        await self._more()


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"
