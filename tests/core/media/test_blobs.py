from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from core.media import blobs
from core.media.blobs import LostBlocks, NoSuchBlob, Room, StorageAway
from sandbox.azurite import Azurite

pytestmark = pytest.mark.usefixtures("storage")


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await blobs.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def names(room: Room) -> set[str]:
    return {one.name async for page in blobs.pages(room) for one in page}


async def test_blocks_that_came_in_any_order_and_twice_are_one_blob_in_theirs(tmp_path: Path) -> None:
    name = str(uuid4())
    await blobs.stage(name, 1, stream(b"c", b"d"), 2)
    await blobs.stage(name, 0, stream(b"xx"), 2)
    await blobs.stage(name, 0, stream(b"ab"), 2)

    await blobs.join(name, 2)
    await blobs.join(name, 2)
    await blobs.save(name, tmp_path / "it")

    assert (tmp_path / "it").read_bytes() == b"abcd"


async def test_a_block_that_is_missing_is_told() -> None:
    name = str(uuid4())
    await blobs.stage(name, 0, stream(b"ab"), 2)

    with pytest.raises(LostBlocks):
        await blobs.join(name, 2)


async def test_what_goes_wrong_in_a_stream_comes_out_as_it_is() -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield b"a"
        raise ValueError("cut")

    with pytest.raises(ValueError, match="cut"):
        await blobs.stage(str(uuid4()), 0, cut(), 2)


async def test_what_was_discarded_is_gone_joined_or_not(tmp_path: Path) -> None:
    joined, loose = str(uuid4()), str(uuid4())
    for name in (joined, loose):
        await blobs.stage(name, 0, stream(b"ab"), 2)
    await blobs.join(joined, 1)

    for name in (joined, loose):
        await blobs.discard(name)

    assert {joined, loose} & await names(Room.QUARANTINE) == set()
    with pytest.raises(NoSuchBlob):
        await blobs.save(joined, tmp_path / "it")
    with pytest.raises(LostBlocks):
        await blobs.join(loose, 1)


async def test_what_was_published_is_read_with_its_size() -> None:
    name = f"{uuid4()}.webp"
    await blobs.publish(name, b"picture" * 100_000, "image/webp")

    size, chunks = await blobs.read(name)

    assert size == 700_000
    assert b"".join([chunk async for chunk in chunks]) == b"picture" * 100_000


async def test_only_what_a_list_has_shown_is_removed_and_not_what_was_written_since() -> None:
    old, fresh = f"{uuid4()}.webp", f"{uuid4()}.webp"
    for name in (old, fresh):
        await blobs.publish(name, b"one", "image/webp")
    found = {one.name: one async for page in blobs.pages(Room.PUBLIC) for one in page}
    await blobs.publish(fresh, b"one", "image/webp")

    assert await blobs.remove(Room.PUBLIC, found[old]) is True
    assert await blobs.remove(Room.PUBLIC, found[old]) is False
    assert await blobs.remove(Room.PUBLIC, found[fresh]) is False
    assert {old, fresh} & await names(Room.PUBLIC) == {fresh}


async def test_a_storage_that_is_away_is_told_as_that(storage: Azurite) -> None:
    storage.stop()
    try:
        with pytest.raises(StorageAway):
            await blobs.stage(str(uuid4()), 0, stream(b"ab"), 2)
    finally:
        storage.start()
