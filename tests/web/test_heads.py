"""A request whose head does not end, or is too large, is refused by name and holds no connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.house import House
from tests.web.served import Served
from web import heads

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def served(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    one = Served(house, tmp_path_factory.mktemp("heads"))
    one.start()
    yield one
    one.stop()


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = urlsplit(served.url).port
    assert port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(served: Served, head: bytes) -> bytes:
    async with connected(served) as (reader, writer):
        writer.write(head)
        return await reader.read(100)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * heads.MOST_BYTES + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * heads.MOST_FIELDS + b"\r\n", b"431"),
        (b"GET /" + b"x" * heads.MOST_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
        (b"GET /" + b"x" * (heads.MOST_BYTES + 1), b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (heads.MOST_BYTES + 1), b"431"),
        (b"\x16\x03\x01 is no HTTP\r\n\r\n", b"400"),
    ],
    ids=["field", "fields", "address", "address without end", "field without end", "malformed"],
)
async def test_a_head_beyond_its_bounds_is_refused_before_any_of_it_is_acted_on(
    served: Served, head: bytes, status: bytes
) -> None:
    assert (await answer(served, head)).split()[1] == status


async def test_a_websocket_is_handed_on(served: Served) -> None:
    upgrade = f"Origin: {served.url}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    head = f"GET /live HTTP/1.1\r\nHost: {urlsplit(served.url).netloc}\r\n{upgrade}{key}"

    assert (await answer(served, head.encode())).split()[1] == b"403"  # who is not signed in has none
    assert served.errors() == []


async def test_a_head_within_its_bounds_is_answered_however_it_is_cut(served: Served) -> None:
    large = WHOLE.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (heads.MOST_BYTES - 200) + b"\r\n\r\n")
    async with connected(served) as (reader, writer):
        for at in range(0, len(large), 5_000):
            writer.write(large[at : at + 5_000])
            await writer.drain()
        first = await reader.readuntil(b"\r\n\r\n")
        length = int(first.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(WHOLE)  # and so is the next one on the same connection
        second = await reader.readuntil(b"\r\n\r\n")

    assert (first.split()[1], second.split()[1]) == (b"200", b"200")


async def silent(served: Served, *words: bytes) -> tuple[bytes, float]:
    """What comes back when nothing follows `words`, and after how long the connection is closed."""
    clock = asyncio.get_running_loop().time
    async with connected(served) as (reader, writer):
        for word in words:
            writer.write(word)
            await writer.drain()
        start = clock()
        return await asyncio.wait_for(reader.read(), timeout=heads.PATIENCE + 10), clock() - start


async def test_who_does_not_go_on_is_let_go(served: Served) -> None:
    nothing, half, after_one = await asyncio.gather(
        silent(served), silent(served, b"GET /healthz HT"), silent(served, WHOLE + b"\r\n")
    )

    assert nothing[0] == b""  # nothing was asked, so nothing is answered
    assert half[0].split()[1] == b"408"
    assert after_one[0].split()[1] == b"200"
    assert all(took < heads.PATIENCE + 5 for _, took in (nothing, half, after_one))


async def test_a_socket_on_a_fresh_connection_is_answered(served: Served) -> None:
    """The head is the whole request then; who is not signed in is refused by the application, not by a closed line."""
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    host = urlsplit(served.url).netloc
    head = f"GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: {served.url}\r\n{fields}{key}\r\n"

    assert (await answer(served, head.encode())).startswith(b"HTTP/1.1 403")
