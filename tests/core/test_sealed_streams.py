"""Streams that are sealed: what opens, and what was cut, turned round, mixed or moved and so does not."""

import os
import secrets as random
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from core import secrets
from core.sealing import HEAD, RECORD, TAG, NotOurs, seal_stream, unseal_stream
from core.settings import settings
from tests.house import House

OLD, NEW = random.token_hex(32), random.token_hex(32)
PREFIX = HEAD + 12 + 32 + TAG
SEALED = RECORD + TAG


@pytest.fixture(autouse=True)
def _settings(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OLD)


def use(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    """Have these snapshot keys, the newest first."""
    changed = settings().model_copy(update={"snapshot_key": SecretStr(",".join(keys))})
    monkeypatch.setattr(secrets, "settings", lambda: changed)


async def pieces(whole: bytes, size: int = 70_001) -> AsyncIterator[bytes]:
    for at in range(0, len(whole), size):
        yield whole[at : at + size]


async def seal(whole: bytes, context: str = "here") -> bytes:
    return b"".join([one async for one in seal_stream(context, pieces(whole))])


async def unseal(sealed: bytes, context: str = "here", size: int = 70_001) -> bytes:
    return b"".join([one async for one in unseal_stream(context, pieces(sealed, size))])


@pytest.mark.parametrize("length", [0, 1, RECORD - 1, RECORD, RECORD + 1, 3 * RECORD, 3 * RECORD + 17])
@pytest.mark.parametrize("size", [1 << 20, 4099])
async def test_a_stream_of_any_length_opens_as_it_was(length: int, size: int) -> None:
    whole = os.urandom(length)

    sealed = await seal(whole)

    assert await unseal(sealed, size=size) == whole
    assert len(sealed) == PREFIX + length + TAG * max(1, -(-length // RECORD))


async def test_the_same_stream_is_sealed_differently_each_time() -> None:
    assert (await seal(b"the same"))[PREFIX:] != (await seal(b"the same"))[PREFIX:]


async def test_what_was_cut_off_at_the_end_of_a_record_does_not_open() -> None:
    sealed = await seal(os.urandom(3 * RECORD))

    for cut in (len(sealed) - 1, PREFIX + 2 * SEALED, PREFIX + SEALED, PREFIX, PREFIX - 1, 0):
        with pytest.raises(NotOurs):
            await unseal(sealed[:cut])


async def test_records_in_another_order_or_of_another_stream_do_not_open() -> None:
    one, other = await seal(os.urandom(3 * RECORD)), await seal(os.urandom(3 * RECORD))
    a, b, c = (one[PREFIX + n * SEALED : PREFIX + (n + 1) * SEALED] for n in range(3))

    for mixed in (b + a + c, a + c, a + b + c + c, a + b + other[-SEALED:]):
        with pytest.raises(NotOurs):
            await unseal(one[:PREFIX] + mixed)
    with pytest.raises(NotOurs):
        await unseal(other[:PREFIX] + a + b + c)


@pytest.mark.parametrize("at", [0, 1, HEAD, HEAD + 12, PREFIX, PREFIX + 5, -1])
async def test_a_changed_byte_anywhere_is_noticed(at: int) -> None:
    sealed = bytearray(await seal(b"the rows of a table"))
    sealed[at] ^= 1

    with pytest.raises(NotOurs):
        await unseal(bytes(sealed))


async def test_a_stream_opens_in_its_place_only() -> None:
    with pytest.raises(NotOurs):
        await unseal(await seal(b"accounts", "2026-11-23/accounts"), "2026-11-24/accounts")


async def test_what_an_older_key_sealed_opens_until_the_key_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    old = await seal(b"of yesterday")

    use(monkeypatch, NEW, OLD)
    assert await unseal(old) == b"of yesterday"
    new = await seal(b"of today")
    use(monkeypatch, NEW)
    assert await unseal(new) == b"of today"
    with pytest.raises(NotOurs):
        await unseal(old)


@pytest.mark.parametrize("key", ["", "5b" * 31, "xx" * 32])
def test_a_key_that_is_none_stops_the_start_with_its_name(house: House, key: str) -> None:
    with pytest.raises(ValueError, match="CLOFY_SNAPSHOT_KEY"):
        type(settings())(**(settings().model_dump() | {"snapshot_key": key}))
