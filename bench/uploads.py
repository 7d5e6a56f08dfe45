"""Uploads of pictures through the product, beside a bare ASGI application that copies the same bytes to disk.

The product has two storages in turn: one that is such a copy itself, so that what is measured is ours, and Azurite,
which takes most of the processor. What a bare client gets out of Azurite is the most that anything before it can get.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import random
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from sqlalchemy import text

from bench.figures import median_with_interval, table
from bench.http import Http
from bench.machine import BEHIND, FRONT, cpu_ns, facts, pin
from core.accounts.models import Role
from core.database import transaction
from core.direct import close_connections
from core.media.uploads import BLOCK
from core.settings import settings
from sandbox import programs
from sandbox.azurite import ACCOUNT, Azurite
from sandbox.postgres import scratch_directory
from sandbox.processes import Child, free_port, listens
from tests.core.billing.kit import sign_in
from tests.house import MODULE, ROOT, House
from tests.makers import make_account

AT_ONCE, SIZE = 8, 64 * 1024**2
GIGABYTES = AT_ONCE * SIZE / 1e9
PIECE = os.urandom(BLOCK)
BARE, OURS, WITH_AZURITE = "bare copy", "product, such a copy as its storage", "product, Azurite as its storage"
STREAMED, HASHED = "bare client to Azurite", "the same, with the hash of each block sent before it"

Paths = Callable[[int], str]  # of the blocks of one upload, by number


@dataclass
class Way:
    """Where the bytes of an upload go. begin: announces one; processes: that the bytes go through."""

    port: int
    headers: dict[str, str]
    begin: Callable[[Http], Awaitable[Paths]]
    processes: list[Child]

    async def measure(self) -> dict[str, Any]:
        """MB/s of all uploads together, and the seconds of processor that each process takes for a GB."""
        before, own = [cpu_ns(one.pid) for one in self.processes], time.process_time()
        began = time.perf_counter()
        await asyncio.gather(*[self._upload() for _ in range(AT_ONCE)])
        took = time.perf_counter() - began
        spent = {
            one.name: (cpu_ns(one.pid) - at) / 1e9 / GIGABYTES for one, at in zip(self.processes, before, strict=True)
        }
        return {
            "mb_s": GIGABYTES * 1000 / took,
            "processor_s_gb": spent | {"client": (time.process_time() - own) / GIGABYTES},
        }

    async def _upload(self) -> None:
        line = await Http.open(f"http://127.0.0.1:{self.port}", self.headers)
        path = await self.begin(line)
        for number in range(SIZE // BLOCK):
            status, answer = await line.ask("PUT", path(number), PIECE)
            assert status in (201, 204), (status, answer)
        line.close()


async def measure(*, quick: bool) -> dict[str, Any]:
    rounds = 2 if quick else 9
    with scratch_directory() as directory, House(directory) as house:
        os.environ.update(house.settings)
        settings.cache_clear()
        house.azurite.start()
        pin(house.azurite.child.pid, FRONT)
        environ = house.environ | {"CLOFY_BENCH_COPIES": str(directory)}
        copier, storage = _copier("copier", environ, BEHIND), _copier("storage", environ, FRONT)
        webs = [
            _serve(name, programs.web(port), environ | {"CLOFY_BLOB_CONNECTION_STRING": where})
            for name, port, where in (
                ("web", house.web_ports[0], _at(house.azurite, storage[1])),
                ("web of Azurite", house.web_ports[1], house.azurite.connection_string),
            )
        ]
        try:
            async with transaction() as session:
                account_id = await make_account(session, role=Role.ADMIN)
            ways = _ways(house, await sign_in(account_id), webs, copier, storage)
            for way in ways.values():  # what is loaded once
                await way.measure()
            for web in webs:
                _forget_peak(web.pid)
            peaks = [_peak(web.pid) for web in webs]
            seen = []
            for _ in range(rounds):
                await _forget_uploads()
                seen.append({name: await ways[name].measure() for name in random.sample(list(ways), len(ways))})
            grown = [(_peak(web.pid) - peak) / AT_ONCE / 1024**2 for web, peak in zip(webs, peaks, strict=True)]
        finally:
            for child in (*webs, copier[0], storage[0]):
                child.stop()
            await close_connections()
    return {"machine": facts(), "block_bytes": BLOCK, "mib_of_each_upload": grown, "rounds": seen}


def _ways(
    house: House, headers: dict[str, str], webs: list[Child], copier: tuple[Child, int], storage: tuple[Child, int]
) -> dict[str, Way]:
    azurite, query = house.azurite, _signature(house.azurite)
    digest = base64.b64encode(hashlib.md5(PIECE, usedforsecurity=False).digest()).decode()

    async def announced(line: Http) -> Paths:
        facts = orjson.dumps({"name": "a.png", "bytes": SIZE})
        status, answer = await line.ask("POST", "/api/media", facts)
        assert status == 201, (status, answer)
        return f"/api/media/{orjson.loads(answer)['id']}/blocks/{{}}".format

    async def anywhere(line: Http) -> Paths:
        return f"/{id(line)}/{{}}".format

    async def straight(line: Http) -> Paths:
        def path(number: int) -> str:
            block = quote(base64.b64encode(f"{number:06}".encode()))
            return f"/{ACCOUNT}/quarantine/{id(line)}?comp=block&blockid={block}&{query}"

        return path

    return {
        BARE: Way(copier[1], {}, anywhere, [copier[0]]),
        OURS: Way(house.web_ports[0], headers, announced, [webs[0], storage[0]]),
        WITH_AZURITE: Way(house.web_ports[1], headers, announced, [webs[1], azurite.child]),
        STREAMED: Way(azurite.port, {}, straight, [azurite.child]),
        HASHED: Way(azurite.port, {"content-md5": digest}, straight, [azurite.child]),
    }


def _copier(name: str, environ: dict[str, str], core: int) -> tuple[Child, int]:
    port = free_port()
    words = [word for word in programs.web(port) if word != "--factory"]
    words[words.index("web.app:create_app")] = "bench.copier:app"
    return _serve(name, words, environ, core=core), port


def _serve(name: str, words: list[str], environ: dict[str, str], *, core: int = BEHIND) -> Child:
    """A process on a core of its own. words: of its command, with its port"""
    log = Path(environ["CLOFY_BENCH_COPIES"]) / f"{name}.log"
    child = Child(name, [*MODULE, *words], log=log, environ=environ, directory=ROOT)
    child.start()
    child.wait_until(partial(listens, int(words[words.index("--port") + 1])))
    pin(child.pid, core)
    return child


def _at(azurite: Azurite, port: int) -> str:
    """The storage's address with another port."""
    return azurite.connection_string.replace(f":{azurite.port}/", f":{port}/")


def _signature(azurite: Azurite) -> str:
    """A query by which a client may write: a shared access signature of the account."""
    facts = {"sv": "2020-08-04", "ss": "b", "srt": "o", "sp": "wc", "se": "2099-01-01T00:00:00Z"}
    lines = [ACCOUNT, facts["sp"], facts["ss"], facts["srt"], "", facts["se"], "", "", facts["sv"], ""]
    signed = hmac.digest(base64.b64decode(azurite.key), "\n".join(lines).encode(), "sha256")
    return urlencode(facts | {"sig": base64.b64encode(signed).decode()})


async def _forget_uploads() -> None:
    """Or the quota of the account would be reached."""
    async with transaction() as session:
        await session.execute(text("delete from media"))


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def _peak(pid: int) -> int:
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


def show(seen: dict[str, Any]) -> str:
    rows = []
    for name in (BARE, OURS, WITH_AZURITE, STREAMED, HASHED):
        ratio = median_with_interval([found[name]["mb_s"] / found[BARE]["mb_s"] for found in seen["rounds"]])
        spent = [found[name]["processor_s_gb"] for found in seen["rounds"]]
        rows.append(
            [
                name,
                f"{statistics.median(found[name]['mb_s'] for found in seen['rounds']):.0f}",
                f"{ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})",
                ", ".join(f"{one} {statistics.median(round_[one] for round_ in spent):.2f}" for one in spent[0]),
            ]
        )
    grown = " and ".join(f"{one:.2f}" for one in seen["mib_of_each_upload"])
    head = [f"{AT_ONCE} uploads of {SIZE // 1024**2} MiB", "MB/s", "beside the copy; bar 0.5", "processor, s/GB"]
    return f"{table(head, rows)}\n\nmemory of the web processes at their peak: {grown} MiB for each upload; bar 2"
