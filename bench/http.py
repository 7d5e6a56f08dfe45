"""HTTP/1.1 for next to nothing, so that what is measured is the other side: keep-alive, one request at a time."""

import asyncio
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools

Part = Callable[[bytes], None]


class Http(asyncio.Protocol):
    """One connection to one server."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host, self.port = parts.hostname, parts.port or 80
        lines = {"host": parts.netloc, "content-type": "application/json", **headers}
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
        self.sent_ns = 0  # when the last request was handed to the kernel

    @classmethod
    async def open(cls, url: str, headers: dict[str, str]) -> "Http":
        made = cls(url, headers)
        await made._connect()
        return made

    async def _connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, self.host, self.port)

    async def ask(self, method: str, path: str, body: bytes = b"", *, on_part: Part | None = None) -> tuple[int, bytes]:
        """Send a request; returns the status and the body, or gives the body to `on_part` as it comes."""
        if self._transport.is_closing():  # servers close what was idle, as between two rounds
            await self._connect()
        self._body: list[bytes] = []
        self._on_part: Part = on_part or self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        head = b"%b %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (
            method.encode(),
            path.encode(),
            self.headers,
            len(body),
        )
        self.sent_ns = time.perf_counter_ns()
        self._transport.write(head + body)
        status = await self._done
        return status, b"".join(self._body)

    def close(self) -> None:
        self._transport.close()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed the connection"))

    # httptools's side

    def on_body(self, part: bytes) -> None:
        self._on_part(part)

    def on_message_complete(self) -> None:
        self._done.set_result(self._parser.get_status_code())
