"""Rooms that nobody may look into: written as the bytes come, read the same way, and gone when they are to go."""

import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from core.media import blobs
from core.media.blobs import AlreadyThere, NoSuchBlob, Room
from sandbox.azurite import Azurite

pytestmark = pytest.mark.usefixtures("storage")
MIB = 1024**2


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await blobs.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(room: Room, name: str) -> bytes:
    _, chunks = await blobs.fetch(room, name)
    return b"".join([chunk async for chunk in chunks])


async def names(room: Room, begins: str) -> list[str]:
    return [one.name async for page in blobs.pages(room, begins=begins) for one in page]


async def test_what_was_written_in_pieces_is_read_as_it_was() -> None:
    name, pieces = str(uuid4()), [bytes([number]) * 700_001 for number in range(9)]

    await blobs.write(Room.EXPORTS, name, stream(*pieces), kind="application/zip")

    assert (await blobs.fetch(Room.EXPORTS, name))[0] == 9 * 700_001
    assert await read(Room.EXPORTS, name) == b"".join(pieces)


async def test_nothing_is_a_blob_too() -> None:
    name = str(uuid4())

    await blobs.write(Room.EXPORTS, name, stream())

    assert await read(Room.EXPORTS, name) == b""


async def test_a_blob_of_64_mib_is_written_and_read_with_a_few_blocks_in_memory() -> None:
    name = str(uuid4())

    async def long() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    tracemalloc.start()
    try:
        await blobs.write(Room.SNAPSHOTS, name, long())
        size = 0
        async for chunk in (await blobs.fetch(Room.SNAPSHOTS, name))[1]:
            size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size == 64 * MIB
    assert peak < 24 * MIB, peak
    assert await blobs.erase(Room.SNAPSHOTS, name)


async def test_what_breaks_off_leaves_nothing_to_be_read() -> None:
    name = str(uuid4())

    async def broken() -> AsyncIterator[bytes]:
        yield bytes(5 * MIB)
        raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        await blobs.write(Room.SNAPSHOTS, name, broken())

    with pytest.raises(NoSuchBlob):
        await blobs.fetch(Room.SNAPSHOTS, name)


async def test_what_is_written_once_is_not_written_over() -> None:
    name = str(uuid4())
    await blobs.write(Room.ARCHIVE, name, stream(b"first"), once=True)

    with pytest.raises(AlreadyThere):
        await blobs.write(Room.ARCHIVE, name, stream(b"second"), once=True)

    assert await read(Room.ARCHIVE, name) == b"first"


async def test_of_two_who_write_at_once_one_wins_whole() -> None:
    name = str(uuid4())

    async def slowly() -> AsyncIterator[bytes]:
        yield b"a" * 5 * MIB  # a block is staged
        await blobs.write(Room.ARCHIVE, name, stream(b"b" * 5 * MIB), once=True)
        yield b"a"

    with pytest.raises(AlreadyThere):
        await blobs.write(Room.ARCHIVE, name, slowly(), once=True)

    assert set(await read(Room.ARCHIVE, name)) == {ord("b")}


async def test_what_was_erased_is_gone_with_its_snapshots() -> None:
    name = str(uuid4())
    await blobs.write(Room.EXPORTS, name, stream(b"mine"))
    await blobs.write(Room.EXPORTS, f"{name}2", stream(b"another's"))
    async with blobs._blob(Room.EXPORTS, name) as blob:
        await blob.create_snapshot()

    assert await blobs.erase(Room.EXPORTS, name)
    assert not await blobs.erase(Room.EXPORTS, name)

    assert await names(Room.EXPORTS, name) == [f"{name}2"]
    container = blobs._service().get_container_client(Room.EXPORTS)
    left = [one.name async for one in container.list_blobs(name_starts_with=name, include=["snapshots", "deleted"])]
    assert left == [f"{name}2"]


async def test_a_link_opens_one_blob_for_reading_and_nothing_else(storage: Azurite) -> None:
    name, other = str(uuid4()), str(uuid4())
    await blobs.write(Room.EXPORTS, name, stream(b"mine"), kind="application/zip")
    await blobs.write(Room.EXPORTS, other, stream(b"another's"))

    link = await blobs.link(Room.EXPORTS, name, lives=timedelta(minutes=5), as_name="clofy-data.zip")

    async with httpx.AsyncClient() as client:
        taken = await client.get(link)
        assert (taken.status_code, taken.content) == (200, b"mine")
        assert taken.headers["content-disposition"] == 'attachment; filename="clofy-data.zip"'
        assert taken.headers["content-type"] == "application/zip"
        bare = link.partition("?")[0]
        assert (await client.get(bare)).status_code >= 400
        assert (await client.get(link.replace(name, other))).status_code >= 400
        assert (await client.delete(link)).status_code >= 400
        assert (await client.put(link, content=b"x", headers={"x-ms-blob-type": "BlockBlob"})).status_code >= 400
    assert await read(Room.EXPORTS, name) == b"mine"


async def test_a_link_that_has_lived_opens_nothing() -> None:
    name = str(uuid4())
    await blobs.write(Room.EXPORTS, name, stream(b"mine"))

    link = await blobs.link(Room.EXPORTS, name, lives=timedelta(seconds=-1), as_name="clofy-data.zip")

    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).status_code == 403


async def test_a_store_that_cannot_lock_says_so() -> None:
    name = str(uuid4())
    await blobs.write(Room.ARCHIVE, name, stream(b"day"), once=True)

    assert await blobs.lock(Room.ARCHIVE, name, until=datetime.now(UTC) + timedelta(days=1)) is False
