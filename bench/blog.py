"""A post's page, whole and by its ETag, beside a bare Quart route that renders the same template."""

import asyncio
import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench.figures import median_with_interval, table
from bench.http import Http
from bench.machine import BEHIND, facts, pin
from core.blog import posts
from core.blog.models import PostState
from core.database import transaction
from core.direct import close_connections
from core.settings import settings
from sandbox import programs
from sandbox.postgres import scratch_directory
from sandbox.processes import Child, free_port
from tests.core.blog.kit import make_editor, source
from tests.house import MODULE, ROOT, House

CONNECTIONS = 16
SLUG = "measured"
BODY = "\n\n".join(f"## Part {n}\n\n{'A sentence of *ordinary* length, as posts have them. ' * 12}" for n in range(6))


async def measure(*, quick: bool) -> dict[str, Any]:
    rounds, seconds = (3, 1.0) if quick else (9, 4.0)
    with scratch_directory() as directory, House(directory) as house:
        os.environ.update(house.settings)
        settings.cache_clear()
        await _publish()
        product = _serve(house, directory, "web", programs.web(house.web_ports[0]), house.web_ports[0])
        port = free_port()
        flags = f"uvicorn bench.bare_blog:app --host 127.0.0.1 --port {port} --no-access-log --no-server-header"
        bare = _serve(house, directory, "bare", flags.split(), port)
        try:
            urls = {"page": house.web_url, "by ETag": house.web_url, "bare route": f"http://127.0.0.1:{port}"}
            async with httpx.AsyncClient() as http:
                page = (await http.get(f"{house.web_url}/blog/{SLUG}")).raise_for_status()
            wanted = {"page": 200, "by ETag": 304, "bare route": 200}
            headers = {"by ETag": {"if-none-match": page.headers["etag"]}}
            seen: list[dict[str, float]] = []
            for _ in range(rounds):
                found = {}
                for arm in random.sample(list(urls), len(urls)):
                    found[arm] = await _rate(urls[arm], headers.get(arm, {}), wanted[arm], seconds)
                seen.append(found)
        finally:
            product.stop()
            bare.stop()
            await close_connections()
    return {"machine": facts(), "bytes": len(page.content), "rounds": seen}


async def _publish() -> None:
    editor = await make_editor()
    text = source(slug=SLUG, title="Measured", body=BODY, tags="figures")
    async with transaction() as session:
        post = await posts.create(session, source=text, made_by=editor)
        await posts.move(session, post.id, to=PostState.PUBLISHED, version=1, now=datetime.now(UTC))


def _serve(house: House, directory: Path, name: str, words: list[str], port: int) -> Child:
    child = Child(name, [*MODULE, *words], log=directory / f"{name}.log", environ=house.environ, directory=ROOT)
    child.start()
    child.wait_until(lambda: _answers(f"http://127.0.0.1:{port}/blog/{SLUG}"))
    pin(child.pid, BEHIND)
    return child


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


async def _rate(url: str, headers: dict[str, str], wanted: int, seconds: float) -> float:
    """Answers a second, by so many connections that ask again as soon as they are answered."""
    lines = [await Http.open(url, headers) for _ in range(CONNECTIONS)]
    end = time.perf_counter() + seconds
    count = 0

    async def ask(line: Http) -> None:
        nonlocal count
        while time.perf_counter() < end:
            status, _ = await line.ask("GET", f"/blog/{SLUG}")
            assert status == wanted, status
            count += 1

    start = time.perf_counter()
    await asyncio.gather(*[ask(line) for line in lines])
    took = time.perf_counter() - start
    for line in lines:
        line.close()
    return count / took


def show(seen: dict[str, Any]) -> str:
    rows = []
    for arm in ("bare route", "page", "by ETag"):
        rate, _, _ = median_with_interval([found[arm] for found in seen["rounds"]])
        ratio = median_with_interval([found[arm] / found["bare route"] for found in seen["rounds"]])
        rows.append([arm, f"{rate:,.0f}", f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"])
    return table(["a post's page", "requests/s", "beside the bare route"], rows)
