"""A zip that is read while it is written: neither it nor any file in it is ever whole in memory.

Who adds waits for who takes. Compressing is done beside the loop, in a thread.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from isal import isal_zlib

PIECE = 2 * 1024**2  # bytes that are compressed at a time
PARTS = 4  # of so many bytes each at most, that wait to be taken: what is made while a block is sent
SMALL = 128 * 1024  # bytes that are compressed here, in a quarter of a millisecond; a thread takes longer to wake
RAW_DEFLATE = -15  # as zlib's wbits: the largest window, without a header


class _Outlet:
    """What ZipFile writes to; it can neither be read nor turned back, so the zip has its sizes behind each file."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.held.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back; as with close, ZipFile may ask for it."""

    def close(self) -> None: ...

    def take(self) -> bytes:
        data, self.held = b"".join(self.held), []
        return data


class Entry:
    """A file of the zip, open for writing. raw: its bytes before compression; held: of those, what waits for it"""

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.raw = 0
        self._write = write
        self._pieces: list[bytes] = []
        self.held = 0

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self.held += len(data)
        self.raw += len(data)
        if self.held >= PIECE:
            await self._write(self.rest())

    def rest(self) -> bytes:
        """What was written and is not compressed yet."""
        piece, self._pieces, self.held = b"".join(self._pieces), [], 0
        return piece


class Zip:
    """Files are added one after another. size: bytes that came out so far."""

    def __init__(self, *, now: datetime) -> None:
        self.size = 0
        self._now = now
        self._outlet = _Outlet()
        self._zip = ZipFile(self._outlet, "w")
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(PARTS)

    @asynccontextmanager
    async def file(self, name: str, *, packed: bool = False) -> AsyncIterator[Entry]:
        """Add a file. packed: it is compressed already"""
        info = ZipInfo(name, date_time=self._now.timetuple()[:6])
        info.compress_type = ZIP_STORED if packed else ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        opened: Any = self._zip.open(info, "w", force_zip64=True)
        if not packed:  # the same format, four times as fast as zlib at its fastest, and no larger
            opened._compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, RAW_DEFLATE)  # noqa: SLF001  # no other way

        async def write(piece: bytes) -> None:
            await asyncio.to_thread(opened.write, piece)
            await self._hand_on()

        def finish() -> None:
            opened.write(entry.rest())
            opened.close()

        entry = Entry(write)
        yield entry
        if entry.held < SMALL:
            finish()
        else:
            await asyncio.to_thread(finish)
        await self._hand_on()

    async def add(self, name: str, content: bytes) -> None:
        async with self.file(name) as entry:
            await entry.write(content)

    async def _hand_on(self) -> None:
        if part := self._outlet.take():
            await self._room.acquire()
            self.size += len(part)
            self._parts.put_nowait(part)

    async def parts(self, fill: Callable[["Zip"], Awaitable[None]]) -> AsyncGenerator[bytes]:
        """The zip, as `fill` adds to it. What that raises comes out as it is."""

        async def work() -> None:
            await fill(self)
            await asyncio.to_thread(self._zip.close)
            await self._hand_on()

        task = asyncio.create_task(work(), name="zip")
        task.add_done_callback(lambda _: self._parts.put_nowait(None))
        try:
            while (part := await self._parts.get()) is not None:
                self._room.release()
                yield part
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
