"""Many answers through one AI worker: does each arrive whole, what memory it takes, how soon a slot is refilled."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import cycle
from typing import Any

from sqlalchemy import select

from bench.answers import Answer, expected, question
from bench.arms import Person
from bench.figures import percentile, table
from bench.follow import Watcher
from bench.house import MeasuredHouse, measured_house
from bench.machine import BEHIND, FRONT, cpu_ns, facts, pin, pss_kib
from core.database import transaction
from core.jobs import Job

AT_ONCE, QUICK_AT_ONCE = 500, 200
TOKENS, GAP_MS = 256, 50
FIRST_TOKEN_MS = 15_000  # so that all have been asked before the first one speaks
ON_A_SOCKET = 20  # answers: as many as a socket may watch
MOST_MIB = 1.0  # an answer (issue 2, bar 9)
IDLE_SECONDS = 40  # longer than what a socket does by itself: a look at its session each half minute, a ping
TABS_OF_ONE = 19  # beside the first: web/places.py lets nobody have more
SHAPES = ((10, 200), (50, 1000), (50, 200))  # slots, and milliseconds of an answer; the last asks more than a core has
BACKLOG, QUICK_BACKLOG = 1200, 400
MOST_GAP_MS = 20.0  # p99 (issue 2, bar 9)


async def measure(*, quick: bool) -> dict[str, Any]:
    """Run both parts; returns the report."""
    at_once, backlog = (QUICK_AT_ONCE, QUICK_BACKLOG) if quick else (AT_ONCE, BACKLOG)
    async with measured_house(slots=at_once) as house:
        together = await _together(house, at_once)
    async with measured_house(slots=1) as house:
        tabs = await _idle_tabs(house, at_once)
    refills = []
    for slots, answer_ms in SHAPES:
        async with measured_house(slots=slots) as house:
            refills.append(await _refill(house, slots, answer_ms, backlog))
    what = "answers at once through one AI worker process; how soon a slot that is free is refilled"
    return {"what": what, "quick": quick, "machine": facts(), "together": together, "tabs": tabs, "refills": refills}


async def _together(house: MeasuredHouse, at_once: int) -> dict[str, Any]:
    """All are asked, all are open at the model, then all stream."""
    people = await house.invite(at_once // ON_A_SOCKET)
    await house.open_consultations(people, ON_A_SOCKET + 1)
    house.control(openai={"first_token_ms": 0, "gap_ms": 0, "tokens": 8})
    await asyncio.gather(*[person.ask(question(0)) for person in people])  # so that imports and pools are there
    worker = house.ai.pid
    idle, cpu, begun = pss_kib(worker), _cpu(house), time.perf_counter()
    house.control(openai={"first_token_ms": FIRST_TOKEN_MS, "gap_ms": GAP_MS, "tokens": TOKENS})
    memory = asyncio.create_task(_most_memory(worker))
    said = await asyncio.gather(*[_twenty(person, number) for number, person in enumerate(people)])
    seconds = time.perf_counter() - begun
    memory.cancel()
    most = await memory
    answers = [answer for twenty in said for answer in twenty]
    faults = [fault for one in answers for fault in one.faults]
    faults += ["another text" for one in answers if "".join(one.parts) != expected(one.question, TOKENS)]
    peak = house.most_open_at_the_model()
    books = await house.books()
    states = Counter(await _column(Job.state))
    for person in people:
        await person.leave()
    mib = (most - idle) / 1024 / at_once
    whole = not faults and not any(books.values()) and peak == at_once
    return {
        "answers": at_once,
        "tokens_each": TOKENS,
        "gap_ms": GAP_MS,
        "open_at_once": peak,
        "jobs": dict(states),
        "faults": faults[:5],
        "books": books,
        "asked_in_s": (max(one.accepted for one in answers) - min(one.sent for one in answers)) / 1e9,
        "seconds": seconds,
        "tokens_an_event": at_once * TOKENS / sum(len(one.parts) for one in answers),
        "us_a_token": {name: (ns - cpu[name]) / 1000 / (at_once * TOKENS) for name, ns in _cpu(house).items()},
        "pss_idle_mib": idle / 1024,
        "pss_most_mib": most / 1024,
        "mib_an_answer": mib,
        "met": whole and mib < MOST_MIB,
    }


def _cpu(house: MeasuredHouse) -> dict[str, int]:
    return {name: cpu_ns(pid) for name, pid in house.groups.items()}


async def _idle_tabs(house: MeasuredHouse, count: int) -> dict[str, Any]:
    """What a socket costs the web that nobody speaks over: the slope from so many to twice as many."""
    people = await house.invite(2 * count // TABS_OF_ONE + 1)
    sockets, seen, connections, web = [person.socket for person in people], [], [], house.web[0].pid
    in_turn = cycle(people)
    for _ in range(2):
        sockets += [await next(in_turn).open_tab() for _ in range(count)]
        await asyncio.sleep(1)  # what opening them left behind is gone then
        cpu = cpu_ns(web)
        await asyncio.sleep(IDLE_SECONDS)
        seen.append((pss_kib(web), (cpu_ns(web) - cpu) / IDLE_SECONDS / 1000))
        connections.append(await house.redis_connections())
    await asyncio.gather(*[socket.close() for socket in sockets])
    (memory, work), (more_memory, more_work) = seen
    return {
        "sockets": [count, 2 * count],
        "kib_each": (more_memory - memory) / count,
        "us_a_second_each": (more_work - work) / count,
        "redis_connections": connections,
    }


async def _twenty(person: Person, number: int) -> list[Answer]:
    watcher = Watcher(person.socket)
    reading = asyncio.create_task(watcher.read(ON_A_SOCKET))
    answers = []
    for one in range(ON_A_SOCKET):
        answers.append(await person.submit(question(number * ON_A_SOCKET + one)))
        await watcher.watch(answers[-1])
    await reading
    return answers


async def _most_memory(pid: int) -> int:
    """KiB, looked at twice a second until cancelled."""
    most = 0
    try:
        while True:
            most = max(most, pss_kib(pid))
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:
        return most


async def _refill(house: MeasuredHouse, slots: int, answer_ms: int, backlog: int) -> dict[str, Any]:
    """A backlog is asked while the worker is down; then it starts, and its slots are full until the backlog is gone.

    The worker has a core for itself. Its first wave, in which it opens its connections, is not counted.
    """
    house.ai.stop(seconds=10)
    house.control(openai={"first_token_ms": answer_ms, "gap_ms": 0, "tokens": 1})
    people = await house.invite(10)
    each = backlog // len(people)
    await house.open_consultations(people, each)

    async def submit(person: Person) -> None:
        for number in range(each):
            answer = await person.submit(question(number))
            assert not answer.faults, answer.faults

    await asyncio.gather(*[submit(person) for person in people])
    house.start_worker(house.ai)
    for name, pid in house.groups.items():
        pin(pid, BEHIND if name == "worker-ai" else FRONT)
    cpu, begun = cpu_ns(house.ai.pid), time.perf_counter_ns()
    while not await _ended(backlog):  # noqa: ASYNC110  # other processes end it: there is no event to await
        await asyncio.sleep(0.5)
    busy = (cpu_ns(house.ai.pid) - cpu) / (time.perf_counter_ns() - begun)
    started, finished = await _column(Job.started_at), await _column(Job.finished_at)
    books = await house.books()
    for person in people:
        await person.leave()
    gaps = gaps_ms(started, finished, slots)[slots:]
    p99 = percentile(gaps, 0.99)
    return {
        "slots": slots,
        "answer_ms": answer_ms,
        "backlog": backlog,
        "books": books,
        "gap_ms": {"p50": statistics.median(gaps), "p90": percentile(gaps, 0.9), "p99": p99, "most": max(gaps)},
        "most_running": most_running(started, finished),
        "a_second": (backlog - slots) / (max(started) - min(started)).total_seconds(),
        "full_would_be_a_second": slots / answer_ms * 1000,
        "worker_core_busy": busy,
        "met": not any(books.values()) and p99 <= MOST_GAP_MS,
    }


def gaps_ms(started: Sequence[datetime], finished: Sequence[datetime], slots: int) -> list[float]:
    """How long each slot stood empty while jobs waited: the k-th end frees one, the (slots + k)-th start takes it.

    By the database's clock: `started_at` is the claim's, `finished_at` the begin of the last transaction of a job, so
    that this transaction counts as empty.
    """
    starts, ends = sorted(started), sorted(finished)
    return [(start - end).total_seconds() * 1000 for end, start in zip(ends, starts[slots:], strict=False)]


def most_running(started: Sequence[datetime], finished: Sequence[datetime]) -> int:
    changes = sorted([(at, 1) for at in started] + [(at, -1) for at in finished])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


async def _ended(count: int) -> bool:
    return sum(one is not None for one in await _column(Job.finished_at)) == count


async def _column(column: Any) -> list[Any]:
    async with transaction() as session:
        return list(await session.scalars(select(column).where(Job.queue == "ai")))


def show(seen: dict[str, Any]) -> str:
    """The report for people."""
    one = seen["together"]
    head = ["answers", "open at once", "jobs", "faults", "idle MiB", "most MiB", "MiB an answer", "us a token"]
    row = [one["answers"], one["open_at_once"], one["jobs"], len(one["faults"]), one["pss_idle_mib"]]
    row += [one["pss_most_mib"], one["mib_an_answer"], sum(one["us_a_token"].values())]
    parts = [f"{one['answers']} answers at once, {TOKENS} tokens at {GAP_MS} ms: {_verdict(one)}", table(head, [row])]
    parts.append("Of CPU a token: " + ", ".join(f"{name} {us:.1f}" for name, us in one["us_a_token"].items()))
    tabs = seen["tabs"]
    said = f"A socket that is idle: {tabs['kib_each']:.1f} KiB and {tabs['us_a_second_each']:.0f} us of CPU a second"
    parts.append(f"\n{said}; with {tabs['sockets'][1]}, Redis connections: {tabs['redis_connections']}")
    head = ["slots", "answer ms", "gap p50 ms", "p90", "p99", "most", "answers/s", "if always full", "core busy", "bar"]
    rows = []
    for two in seen["refills"]:
        rows.append([two["slots"], two["answer_ms"], *two["gap_ms"].values(), two["a_second"]])
        rows[-1] += [two["full_would_be_a_second"], f"{two['worker_core_busy']:.0%}", _verdict(two)]
    return "\n".join([*parts, "\nFrom the end of an answer to the next claim, while answers wait", table(head, rows)])


def _verdict(part: dict[str, Any]) -> str:
    return "met" if part["met"] else "NOT met"
