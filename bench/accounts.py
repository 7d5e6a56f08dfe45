"""Whether the time of an answer tells who is known; and what a page costs while people sign in."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import orjson
from sqlalchemy import text

from bench.figures import median_with_interval, p99, table
from bench.house import MeasuredHouse, measured_house
from bench.http import Http
from bench.machine import Busy, cpu_ns, facts
from core.accounts.passwords import hash_password
from core.accounts.profile import provide_account
from core.database import transaction

PAIRS, QUICK_PAIRS = 500, 60
CLEARED_EVERY = 8  # pairs; so that no limit is reached
WINDOWS, QUICK_WINDOWS, WINDOW_S = 10, 2, 5.0  # of each kind, in random order
PAUSE_S = 0.015  # between two reads of a page
SIGN_INS = 5  # a second
MOST_APART_MS, MOST_RATIO = 5.0, 1.5  # issue 4, bars 4 and 6
PASSWORD, WRONG = "correct horse battery staple", "not the right password"
PAGE = "/forgot"

Call = tuple[str, dict[str, str]]
CALLS: dict[str, Callable[[str], Call]] = {
    "register": lambda email: (
        "/api/accounts",
        {"email": email, "password": PASSWORD, "name": "Ada", "birth_date": "1990-01-01"},
    ),
    "sign-in": lambda email: ("/api/session", {"email": email, "password": WRONG}),
    "forgot": lambda email: ("/api/password-reset", {"email": email}),
}


async def open_browser(house: MeasuredHouse) -> Http:
    """A connection with the cookie and the CSRF token of one browser, which nobody is signed in in."""
    async with httpx.AsyncClient(base_url=house.web_url) as client:
        opened = await client.get("/api/session")
    cookies = "; ".join(f"{name}={value}" for name, value in opened.cookies.items())
    return await Http.open(house.web_url, {"cookie": cookies, "x-csrf-token": opened.json()["csrf_token"]})


async def clear_limits() -> None:
    async with transaction() as session:
        await session.execute(text("delete from limit_counts"))


def new_address() -> str:
    return f"{uuid4().hex}@people.example"


async def provide(count: int) -> list[str]:
    emails, password_hash = [new_address() for _ in range(count)], await hash_password(PASSWORD)
    async with transaction() as session:
        for email in emails:
            await provide_account(session, email=email, password_hash=password_hash, name="Ada")
    return emails


async def ask(browser: Http, call: Call) -> tuple[float, tuple[int, bytes]]:
    """Milliseconds, and the answer without what is new in each."""
    path, body = call
    start = time.perf_counter()
    status, answer = await browser.ask("POST", path, orjson.dumps(body))
    took = (time.perf_counter() - start) * 1000
    told = orjson.loads(answer)
    told.pop("request_id", None)
    return took, (status, orjson.dumps(told))


async def tell_apart(house: MeasuredHouse, known: list[str]) -> dict[str, dict[str, Any]]:
    """Each known address once at each place, an unknown one just before or after it."""
    browser, chance, found = await open_browser(house), random.Random(0), {}
    for name, make in CALLS.items():
        for warm in range(CLEARED_EVERY):
            await ask(browser, make(f"{warm}-{new_address()}"))
        took: dict[str, list[float]] = {"known": [], "unknown": []}
        answers: dict[str, set[tuple[int, bytes]]] = {"known": set(), "unknown": set()}
        for number, email in enumerate(known):
            if number % CLEARED_EVERY == 0:
                await clear_limits()
            pair = [("known", email), ("unknown", new_address())]
            for kind, address in chance.sample(pair, 2):
                ms, answer = await ask(browser, make(address))
                took[kind].append(ms)
                answers[kind].add(answer)
        apart = [one - other for one, other in zip(took["known"], took["unknown"], strict=True)]
        medians = {kind: statistics.median(values) for kind, values in took.items()}
        found[name] = {
            **{f"{kind}_ms": value for kind, value in medians.items()},
            "apart_ms": medians["known"] - medians["unknown"],
            "median_of_pairs_ms": median_with_interval(apart),
            "same_answer": answers["known"] == answers["unknown"] and len(answers["known"]) == 1,
            "statuses": sorted(status for status, _ in answers["known"] | answers["unknown"]),
        }
    browser.close()
    return found


async def read_pages(browser: Http) -> list[float]:
    """Milliseconds of each read in one window."""
    seen, end = [], time.monotonic() + WINDOW_S
    while time.monotonic() < end:
        start = time.perf_counter()
        status, _ = await browser.ask("GET", PAGE)
        seen.append((time.perf_counter() - start) * 1000)
        assert status == 200, status
        await asyncio.sleep(PAUSE_S)
    return seen


class Storm:
    """People who sign in on a schedule that waits for nobody; every other one has the wrong password."""

    def __init__(self, browsers: list[Http], known: list[str]) -> None:
        self.free: asyncio.Queue[Http] = asyncio.Queue()
        for browser in browsers:
            self.free.put_nowait(browser)
        self.known, self.number = known, 0

    async def blow(self, until: float) -> None:
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                self.number += 1
                group.create_task(self._sign_in(self.number))
                await asyncio.sleep(1 / SIGN_INS)

    async def _sign_in(self, number: int) -> None:
        browser = await self.free.get()
        body = {"email": self.known[number % len(self.known)], "password": WRONG if number % 2 else PASSWORD}
        _, (status, answer) = await ask(browser, ("/api/session", body))
        assert status == (401 if number % 2 else 200), answer
        self.free.put_nowait(browser)


async def read_in_storm(house: MeasuredHouse, known: list[str], windows: int) -> dict[str, Any]:
    reader, storm = await open_browser(house), Storm([await open_browser(house) for _ in range(8)], known)
    took: dict[str, list[float]] = {"quiet": [], "storm": []}
    order = ["quiet", "storm"] * windows
    random.Random(0).shuffle(order)
    for kind in order:
        await clear_limits()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read_pages(reader))
            if kind == "storm":
                group.create_task(storm.blow(time.monotonic() + WINDOW_S))
        took[kind] += reading.result()
    quiet, busy = p99(took["quiet"]), p99(took["storm"])
    return {
        "sign_ins": storm.number,
        **{f"{kind}_reads": len(values) for kind, values in took.items()},
        **{f"{kind}_p50_ms": statistics.median(values) for kind, values in took.items()},
        "quiet_p99_ms": quiet,
        "storm_p99_ms": busy,
        "ratio": busy / quiet if quiet and busy else None,
    }


async def measure(*, quick: bool) -> dict[str, Any]:
    async with measured_house(slots=1) as house:
        known = await provide(QUICK_PAIRS if quick else PAIRS)
        before, ours = Busy.now(), sum(cpu_ns(pid) for pid in house.groups.values())
        apart = await tell_apart(house, known)
        storm = await read_in_storm(house, known, QUICK_WINDOWS if quick else WINDOWS)
        after, ours = Busy.now(), sum(cpu_ns(pid) for pid in house.groups.values()) - ours
    wall = after.wall - before.wall
    met = {
        "told_apart": all(one["same_answer"] and abs(one["apart_ms"]) <= MOST_APART_MS for one in apart.values()),
        "storm": storm["ratio"] is not None and storm["ratio"] <= MOST_RATIO,
    }
    load = {"ours": ours / wall, "all": (after.working - before.working) / wall}  # of all cores; ours without client
    return {"machine": facts(), "load": load, "pairs": len(known), "apart": apart, "storm": storm, "met": met}


def show(seen: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [name, one["known_ms"], one["unknown_ms"], one["apart_ms"], "yes" if one["same_answer"] else "NO"]
        for name, one in seen["apart"].items()
    ]
    lines = [table(["at", "known, ms", "unknown, ms", "apart, ms", "same answer"], rows)]
    lines.append(f"in the storm: {seen['storm']}; the machine: {seen['load']}; met {seen['met']}")
    return "\n".join(lines)
