"""Bar 2 of privacy: a person's copy, made by a real worker, beside PostgreSQL's own COPY of the same rows to /dev/null.

python -m bench export    100,000 messages and 100 pictures; how fast, and how much the worker grew
"""

import asyncio
import json
import os
import random
import re
import statistics
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from bench.figures import table
from bench.machine import BEHIND, FRONT, facts, pin
from core.database import transaction
from core.direct import close_connections, direct
from core.jobs import Job
from core.media import blobs
from core.media.blobs import Room
from core.privacy import exports, exports_content
from core.privacy.exports_models import Export
from core.queue import close_doorbell
from core.settings import settings
from sandbox.postgres import scratch_directory
from sandbox.processes import Child
from tests.house import MODULE, ROOT, House
from tests.makers import make_account, make_consultation

WRITTEN_BY_IT = ("mail_deliveries", "notices", "audit_entries", "exports")  # once the copy was made
MESSAGES, IN_EACH, PICTURES, PICTURE = 100_000, 100, 100, 200_000  # messages, of a consultation; bytes
WORDS = [re.sub(r"[^a-z]", "", word) for word in Path(ROOT / "docs" / "operations.md").read_text().lower().split()]
TALK = """
    with said as (
        insert into messages (id, consultation_id, role, said_on, bytes)
        select uuidv7(), $1, case when n % 2 = 1 then 'question' else 'answer' end, current_date - (n % 28)::int,
            octet_length(words)
        from unnest($2::text[]) with ordinality as one(words, n) returning id, said_on
    ), numbered as (select id, said_on, row_number() over (order by id) as n from said)
    insert into message_texts (said_on, message_id, text)
    select said_on, id, words from numbered join unnest($2::text[]) with ordinality as one(words, n) using (n)
"""
PICTURE_ROW = """
    insert into media (account_id, name, size, state, width, height, colour)
    values (:me, 'a.png', 9, 'ready', 1, 1, '#000000') returning id
"""
COPY_TO_NOTHING = "copy (select {columns} from {table} where {owner}) to '/dev/null'"


def said(chance: random.Random, n: int) -> str:
    """A question of some 40 words, or an answer of some 200."""
    return " ".join(chance.choices(WORDS, k=chance.randint(20, 60) if n % 2 == 0 else chance.randint(100, 300)))


async def somebody(*, messages: int, pictures: int) -> UUID:
    chance = random.Random(0)
    async with transaction() as session:
        account_id = await make_account(session)
    for _ in range(messages // IN_EACH):
        async with transaction() as session:
            consultation = await make_consultation(session, account_id)
        async with direct() as unit:
            await unit.driver.execute(TALK, consultation, [said(chance, n) for n in range(IN_EACH)])
    async with transaction() as session:
        media_id = await session.scalar(text(PICTURE_ROW), {"me": account_id})
    for number in range(pictures):
        name = f"{uuid4().hex}{number:032}.webp"
        await blobs.publish(name, os.urandom(PICTURE), "image/webp")
        async with transaction() as session:
            row = text("insert into media_files values (:media, :name, 1, 1, :size)")
            await session.execute(row, {"media": media_id, "name": name, "size": PICTURE})
    async with direct() as unit:
        await unit.driver.execute("vacuum analyze")
    return account_id


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def resident(pid: int, what: str) -> int:
    """Bytes of a process: VmRSS now, or VmHWM at its peak."""
    return int(re.findall(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


async def copied(account_id: UUID) -> float:
    """Seconds that PostgreSQL needs for the same rows, into nothing."""
    spent = 0.0
    async with direct() as unit:
        for one in exports_content.given():
            owner = one.owner.replace(":account", f"'{account_id}'")
            query = COPY_TO_NOTHING.format(columns=", ".join(one.given.split()), table=one.name, owner=owner)
            began = time.perf_counter()
            await unit.driver.execute(query)
            spent += time.perf_counter() - began
    return spent


async def bytes_of_rows(account_id: UUID) -> int:
    """Of the same rows, as COPY writes them."""
    size = 0

    async def count(data: bytes) -> None:
        nonlocal size
        size += len(data)

    async with direct() as unit:
        for one in exports_content.given():
            owner = one.owner.replace(":account", "$1")
            query = f"select {', '.join(one.given.split())} from {one.name} where {owner}"
            await unit.driver.copy_from_query(query, account_id, output=count)
    return size


async def made(account_id: UUID) -> tuple[Export, float]:
    """A copy, and how many seconds its job took."""
    async with transaction() as session:
        export_id = await exports.ask(session, account_id)
    while True:
        async with transaction() as session:
            export = await session.get_one(Export, export_id)
            job = await session.get_one(Job, export.job_id)
        if job.finished_at is not None:
            assert (job.state, export.missing) == ("done", 0), (job.state, job.error)
            assert job.started_at is not None
            return export, (job.finished_at - job.started_at).total_seconds()
        await asyncio.sleep(0.2)


async def unpacked(export: Export, path: Path) -> dict[str, int]:
    """The rows of each table that came out of the storage, and bytes of all that the zip has, from a file."""
    assert export.blob is not None
    _, chunks = await blobs.fetch(Room.EXPORTS, export.blob)
    with path.open("wb") as file:
        async for chunk in chunks:
            file.write(chunk)
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        records: dict[str, int] = json.loads(opened.read("manifest.json"))["records"]
        raw = sum(one.file_size for one in opened.infolist() if not one.filename.startswith("media/"))
        pictures = sum(one.filename.startswith("media/") for one in opened.infolist())
    for one in exports_content.given():
        owner = one.owner.replace(":account", "$1")
        async with direct() as unit:
            counted = await unit.driver.fetchval(f"select count(*) from {one.name} where {owner}", export.account_id)
        assert counted == records[one.name] or one.name in WRITTEN_BY_IT, (one.name, counted, records[one.name])
    return records | {"bytes of texts": raw, "pictures": pictures}


async def _forget_limit() -> None:
    async with transaction() as session:
        await session.execute(text("update exports set created_at = created_at - interval '2 days'"))


async def measure(*, quick: bool) -> dict[str, Any]:
    rounds, messages = (2, MESSAGES // 10) if quick else (5, MESSAGES)
    with scratch_directory("clofy-bench-") as directory, House(directory) as house:
        house.azurite.start()
        os.environ.update(house.settings)
        settings.cache_clear()
        alive = directory / "alive"
        flags = "celery -A workers.app worker -P threads -c 16 -Q mail,billing,upkeep -n default@%h --without-gossip"
        worker = Child(
            "default",
            [*MODULE, *flags.split(), "--without-mingle"],
            log=directory / "worker.log",
            environ=house.environ | {"CLOFY_ALIVE_FILE": str(alive)},
            directory=ROOT,
        )
        try:
            worker.start()
            worker.wait_until(alive.exists)
            pin(worker.pid, FRONT)
            for pid in (house.postgres.child.pid, house.azurite.child.pid):
                pin(pid, BEHIND)
            await made(await somebody(messages=IN_EACH, pictures=1))  # what is loaded once
            account_id = await somebody(messages=messages, pictures=PICTURES)
            size = await bytes_of_rows(account_id)
            seen: list[dict[str, float]] = []
            before = resident(worker.pid, "VmRSS")
            forget_peak(worker.pid)
            for _ in range(rounds):
                copy_before = await copied(account_id)
                export, seconds = await made(account_id)
                copy = (copy_before + await copied(account_id)) / 2
                seen.append({"copy_seconds": copy, "export_seconds": seconds})
                await _forget_limit()
            grown = resident(worker.pid, "VmHWM") - before
            inside = await unpacked(export, directory / "copy.zip")
        finally:
            await asyncio.to_thread(partial(worker.stop, seconds=10))
            await blobs.close()
            await close_doorbell()
            await close_connections()
    return {
        "machine": facts(),
        "messages": messages,
        "bytes_of_rows": size,
        "bytes_of_zip": export.bytes,
        "worker_grew_bytes": grown,
        "inside": inside,
        "rounds": seen,
    }


def show(seen: dict[str, Any]) -> str:
    rounds = seen["rounds"]
    copy = statistics.median(one["copy_seconds"] for one in rounds)
    export = statistics.median(one["export_seconds"] for one in rounds)
    rows, texts = seen["bytes_of_rows"] / 1e6, seen["inside"]["bytes of texts"] / 1e6
    ratios = [(texts / one["export_seconds"]) / (rows / one["copy_seconds"]) for one in rounds]
    written = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); the bar is 0.25"
    lines = [
        ["COPY of the rows to /dev/null", rows, copy, rows / copy, "1"],
        ["a person's copy: what it writes, as JSON, CSV and texts", texts, export, texts / export, written],
        ["the same, if each row counts once", rows, export, rows / export, f"{copy / export:.2f}"],
    ]
    head = ["", "MB", "s", "MB/s", "of COPY"]
    grown = seen["worker_grew_bytes"] / 1024**2
    return (
        f"{table(head, lines)}\n\n{seen['messages']:,} messages, {seen['inside']['pictures']} pictures; the zip has "
        f"{seen['bytes_of_zip'] / 1e6:.0f} MB; the worker grew by {grown:.1f} MiB at its peak; the bar is 64"
    )
