"""Bar 5 of privacy: a day of a million texts and one of two go by the purge, beside a bare DELETE of as many rows.

python -m bench purge    and what those feel who read meanwhile: 200 reads a second, whether the last one is back or not
"""

import asyncio
import os
import random
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from bench.figures import ENOUGH_FOR_P99, Interval, median_with_interval, percentile, table
from bench.machine import BEHIND, FRONT, facts, pin
from core.direct import Hot, close_connections, direct
from core.privacy import purge
from core.privacy.registry import DataClass
from core.settings import settings
from sandbox.postgres import scratch_directory
from tests.house import House

TEXTS, READS_A_SECOND, SECONDS, SMALL_DAYS = 1_000_000, 200, 15, 15
KEPT = timedelta(days=30)
FIRST_DAY = date(2020, 1, 1)  # long past, so that each day is due when it is asked for
# Texts of 580 bytes, no two alike: between a question and an answer.
FILL = """
    insert into message_texts (said_on, message_id, text)
    select $1::date, md5($1::date::text || n)::uuid, repeat(md5(n::text), 18) || n from generate_series(1, $2::int) as n
"""
READ = Hot("select message_id, text from message_texts where said_on = :day and message_id = any(cast(:ids as uuid[]))")
PURGE = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from core.privacy import purge
from core.privacy.registry import DataClass
async def run(first, days, pause):
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for number in range(days):
        due = datetime.fromisoformat(first).replace(tzinfo=UTC) + timedelta(days=30 + number)
        gone = await purge.run(now=due, only=DataClass.TRANSCRIPT)
        print(sum(one.days for one in gone), flush=True)
        await asyncio.sleep(pause)
asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
"""

Arm = Callable[[date], Awaitable[None]]


async def fill(day: date, texts: int) -> None:
    async with direct() as unit:
        await unit.driver.execute("select prepare_message_partitions($1, $1)", day)
        await unit.driver.execute(FILL, day, texts)
        await unit.driver.execute(f"vacuum analyze message_texts_{day:%Y%m%d}")


async def count(day: date) -> int:
    async with direct() as unit:
        return int(await unit.driver.fetchval("select count(*) from message_texts where said_on = $1", day))


async def by_the_purge(day: date) -> None:
    gone = await purge.run(now=datetime(day.year, day.month, day.day, tzinfo=UTC) + KEPT, only=DataClass.TRANSCRIPT)
    assert gone is not None


async def by_delete(day: date) -> None:
    async with direct() as unit:
        await unit.driver.execute("delete from message_texts where said_on = $1", day)


async def until_unseen(day: date) -> float:
    """When a reader who asks all the time finds no word of a day."""
    async with direct() as unit:
        while await unit.driver.fetchval("select exists (select from message_texts where said_on = $1)", day):  # noqa: ASYNC110  # to ask is what a reader does
            await asyncio.sleep(0.002)
    return time.perf_counter()


async def timed(arm: Arm, day: date, texts: int) -> tuple[float, float]:
    """Seconds until nobody can read the texts, and until their disk is free. What was written was on disk before.

    A DELETE is seen when it returns; its disk is free after a VACUUM. The purge's files go right after its commit.
    """
    await fill(day, texts)
    async with direct() as unit:
        await unit.driver.execute("checkpoint")
    watcher = asyncio.create_task(until_unseen(day)) if arm is by_the_purge else None
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    await arm(day)
    unseen = freed = time.perf_counter()
    if watcher is not None:
        unseen = await watcher
    else:
        async with direct() as unit:
            await unit.driver.execute(f"vacuum message_texts_{day:%Y%m%d}")
        freed = time.perf_counter()
    assert await count(day) == 0
    async with direct() as unit:
        await unit.driver.execute(f"drop table if exists message_texts_{day:%Y%m%d}")
        await unit.driver.execute("checkpoint")
    return unseen - began, freed - began


ARMS: dict[str, tuple[Arm, int]] = {
    "purge N": (by_the_purge, 1),
    "purge 2N": (by_the_purge, 2),
    "delete N": (by_delete, 1),
    "delete 2N": (by_delete, 2),
}


async def reads(day: date, ids: list[UUID], *, seconds: float) -> list[float]:
    """Milliseconds of each read, from when it was to begin."""
    began, chance = time.perf_counter() + 0.1, random.Random(0)

    async def one(at: float) -> float:
        async with direct() as unit:
            rows = await READ.all(unit, day=day, ids=chance.sample(ids, 10))
        assert len(rows) == 10
        return (time.perf_counter() - at) * 1000

    tasks = []
    for number in range(int(seconds * READS_A_SECOND)):
        at = began + number / READS_A_SECOND
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(at)))
    return await asyncio.gather(*tasks)


async def reads_while_purging(day: date, ids: list[UUID], first: date, *, seconds: float, environ: Any) -> list[float]:
    """The same, while days go one after the other, by a purge in a process of its own as a worker's is."""
    pause = seconds / SMALL_DAYS * 0.9
    command = [sys.executable, "-c", PURGE, first.isoformat(), str(SMALL_DAYS), str(pause)]
    child = await asyncio.create_subprocess_exec(*command, env=environ, stdin=PIPE, stdout=PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert await child.stdout.readline() == b"ready\n"
        pin(child.pid, BEHIND)
        child.stdin.write(b"\n")
        seen = await reads(day, ids, seconds=seconds)
        told, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    assert told.split() == [b"1"] * SMALL_DAYS, told
    return seen


async def foreground(first: date, *, rounds: int, texts: int, seconds: float, environ: Any) -> list[dict[str, float]]:
    kept = first + timedelta(days=400)  # is read, and is not due
    await fill(kept, 20_000)
    async with direct() as unit:
        rows = await unit.driver.fetch("select message_id from message_texts where said_on = $1", kept)
        ids = [row[0] for row in rows]
    await reads(kept, ids, seconds=2)  # connections are opened
    seen = []
    for number in range(rounds):
        days = first + timedelta(days=number * SMALL_DAYS)
        for one in range(SMALL_DAYS):
            await fill(days + timedelta(days=one), texts)
        async with direct() as unit:
            await unit.driver.execute("checkpoint")
        quiet = await reads(kept, ids, seconds=seconds)
        busy = await reads_while_purging(kept, ids, days, seconds=seconds, environ=environ)
        assert len(quiet) >= ENOUGH_FOR_P99
        seen.append({"quiet_p99_ms": percentile(quiet, 0.99), "busy_p99_ms": percentile(busy, 0.99)})
    return seen


async def measure(*, quick: bool) -> dict[str, Any]:
    texts, rounds, seconds = (TEXTS // 20, 2, 6.0) if quick else (TEXTS, 5, float(SECONDS))
    with scratch_directory("clofy-bench-") as directory, House(directory) as house:
        environ = house.environ | {"CLOFY_BLOB_CONNECTION_STRING": ""}  # there are no blobs here
        os.environ.update({name: environ[name] for name in house.settings})
        settings.cache_clear()
        pin(house.postgres.child.pid, BEHIND)
        os.sched_setaffinity(0, {FRONT})
        try:
            await timed(by_the_purge, FIRST_DAY - timedelta(days=1), 1_000)  # what is loaded once
            day, unseen, freed = FIRST_DAY, list[dict[str, float]](), list[dict[str, float]]()
            for _ in range(rounds):
                unseen.append({})
                freed.append({})
                for name in random.sample(list(ARMS), len(ARMS)):
                    arm, times = ARMS[name]
                    unseen[-1][name], freed[-1][name] = await timed(arm, day, texts * times)
                    day += timedelta(days=1)
            felt = await foreground(day, rounds=rounds, texts=texts // 10, seconds=seconds, environ=environ)
        finally:
            await close_connections()
    return {
        "what": "seconds until texts are gone: for whoever reads, and from the disk; milliseconds of reads meanwhile",
        "quick": quick,
        "machine": facts(),
        "texts": texts,
        "unseen": unseen,
        "freed": freed,
        "foreground": felt,
        "seconds": {name: [statistics.median(one[name] for one in all_) for all_ in (unseen, freed)] for name in ARMS},
        "2N_over_N": of_rounds(unseen, "purge 2N", "purge N"),
        "delete_over_purge": of_rounds(unseen, "delete N", "purge N"),
        "2N_over_N_freed": of_rounds(freed, "purge 2N", "purge N"),
        "delete_over_purge_freed": of_rounds(freed, "delete N", "purge N"),
        "busy_over_quiet_p99": of_rounds(felt, "busy_p99_ms", "quiet_p99_ms"),
    }


def of_rounds(rounds: list[dict[str, float]], one: str, other: str) -> Interval:
    return median_with_interval([seen[one] / seen[other] for seen in rounds])


def show(seen: dict[str, Any]) -> str:
    names = {
        "2N_over_N": "t(2N) / t(N) until nobody can read them; bar: at most 1.2",
        "delete_over_purge": "DELETE of N / purge of N, the same; bar: at least 50",
        "2N_over_N_freed": "t(2N) / t(N) until the disk is free",
        "delete_over_purge_freed": "DELETE and VACUUM of N / purge of N, the same",
        "busy_over_quiet_p99": f"p99 of {READS_A_SECOND} reads/s, purging / quiet; bar: at most 1.3",
    }
    seconds = [[name, *[f"{one:.3f}" for one in both]] for name, both in seen["seconds"].items()]
    arms = table([f"N = {seen['texts']:,} texts", "unseen after, s", "disk free after, s"], seconds)
    ratios = table(["ratio", "median", "from", "to"], [[words, *seen[name]] for name, words in names.items()])
    return f"{arms}\n\n{ratios}"
