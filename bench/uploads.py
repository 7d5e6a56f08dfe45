"""Bar 2 of pictures: uploads through the product beside a bare ASGI application that copies the same bytes to disk.

python -m bench.uploads [ROUNDS]    8 uploads of 64 MiB at once; MB/s of both, and how much the web process grew
"""

import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text

from core.accounts.models import Role
from core.database import transaction
from core.direct import close_connections
from core.media.uploads import BLOCK
from core.queue import close_doorbell
from sandbox import programs
from sandbox.postgres import scratch_directory
from sandbox.processes import Child, listens
from tests.core.billing.kit import sign_in
from tests.house import MODULE, ROOT, House
from tests.makers import make_account

AT_ONCE, SIZE = 8, 64 * 1024**2
PIECE = os.urandom(BLOCK)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """What an ASGI application has to do at least: each part as it comes, into a file."""
    if scope["type"] != "http":
        return
    path = Path(os.environ["CLOFY_BENCH_COPIES"]) / scope["path"].replace("/", "_")
    with path.open("wb") as file:  # bare: a thread would cost it more
        while True:
            message = await receive()
            file.write(message.get("body", b""))
            if not message.get("more_body"):
                break
    path.unlink()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Connection:
    """HTTP/1.1 by hand: a client library would take more of the processor than what is measured."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port, self.headers = port, headers

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def call(self, method: str, path: str, body: bytes, kind: str = "application/octet-stream") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers.items())]
        lines += [f"Content-Length: {len(body)}", f"Content-Type: {kind}", "", ""]
        self.writer.write("\r\n".join(lines).encode())
        self.writer.write(body)
        await self.writer.drain()
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        answer = await self.reader.readexactly(int(length[1]) if length else 0)
        assert re.match(rb"HTTP/1.1 2", head), head + answer
        return answer


async def through(port: int, headers: dict[str, str], begin: Callable[[Connection], Awaitable[str]]) -> float:
    """MB/s of all uploads together."""

    async def upload() -> None:
        connection = Connection(port, headers)
        await connection.open()
        path = await begin(connection)
        for number in range(SIZE // BLOCK):
            await connection.call("PUT", f"{path}/{number}", PIECE)
        connection.writer.close()

    began = time.perf_counter()
    await asyncio.gather(*[upload() for _ in range(AT_ONCE)])
    return AT_ONCE * SIZE / 1e6 / (time.perf_counter() - began)


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> int:
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) * 1024


async def measure(rounds: int, house: House, web: Child) -> None:
    async with transaction() as session:
        account_id = await make_account(session, role=Role.ADMIN)
    headers = await sign_in(account_id)

    async def announced(connection: Connection) -> str:
        facts = json.dumps({"name": "a.png", "bytes": SIZE}).encode()
        answer = json.loads(await connection.call("POST", "/api/media", facts, "application/json"))
        return f"/api/media/{answer['id']}/blocks"

    async def anywhere(connection: Connection) -> str:
        return f"/{id(connection)}"

    ratios, product_mbs, bare_mbs = [], [], []
    await through(house.web_ports[0], headers, announced)  # what is loaded once
    forget_peak(web.pid)
    before, spent = peak(web.pid), {one.name: cpu_seconds(one.pid) for one in (web, house.azurite.child)}
    for number in range(rounds):
        arms = [through(house.web_ports[0], headers, announced), through(house.web_ports[1], headers, anywhere)]
        speeds = {at: await arms[at] for at in ((0, 1) if number % 2 else (1, 0))}
        product_mbs.append(speeds[0])
        bare_mbs.append(speeds[1])
        ratios.append(speeds[0] / speeds[1])
        async with transaction() as session:
            await session.execute(text("delete from media"))
    grown = (peak(web.pid) - before) / AT_ONCE / 1024**2
    print(f"product {statistics.median(product_mbs):.0f} MB/s, bare copy {statistics.median(bare_mbs):.0f} MB/s")
    print(
        f"ratio {statistics.median(ratios):.2f} ({', '.join(f'{one:.2f}' for one in sorted(ratios))}); the bar is 0.5"
    )
    for one in (web, house.azurite.child):
        seconds = (cpu_seconds(one.pid) - spent[one.name]) / rounds
        print(f"{one.name}: {seconds / (AT_ONCE * SIZE / 1e9):.2f} s of processor for each GB")
    print(f"web process: {grown:.2f} MiB more at its peak for each upload; the bar is 2")


async def run(rounds: int, house: House, web: Child) -> None:
    try:
        await measure(rounds, house, web)
    finally:
        await close_doorbell()
        await close_connections()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with scratch_directory() as directory, House(directory) as house:
        house.azurite.start()
        os.environ.update(house.settings)
        (directory / "copies").mkdir()
        environ = house.environ | {"CLOFY_BENCH_COPIES": str(directory / "copies")}
        commands = [programs.web(port) for port in house.web_ports]
        commands[1] = [
            word.replace("web.app:create_app", "bench.uploads:bare") for word in commands[1] if word != "--factory"
        ]
        children = [
            Child(name, [*MODULE, *words], log=directory / f"{name}.log", environ=environ, directory=ROOT)
            for name, words in zip(("web", "copier"), commands, strict=True)
        ]
        try:
            for child, port in zip(children, house.web_ports, strict=True):
                child.start()
                child.wait_until(partial(listens, port))
            asyncio.run(run(rounds, house, children[0]))
        finally:
            for child in children:
                child.stop()


if __name__ == "__main__":
    main()
