import asyncio
import threading

import pytest

from core.accounts import passwords
from core.accounts.passwords import Busy, check_password, hash_password, needs_rehash, verify_password
from core.errors import InvalidInput


async def test_a_password_fits_its_own_hash_and_no_other() -> None:
    kept = await hash_password("correct horse battery staple")

    assert await verify_password(kept, "correct horse battery staple")
    assert not await verify_password(kept, "Correct horse battery staple")
    assert not await verify_password(None, "correct horse battery staple")
    assert not await verify_password("no hash at all", "correct horse battery staple")


async def test_one_password_typed_on_two_keyboards_is_one() -> None:
    kept = await hash_password("café au lait, s'il vous plaît")

    assert await verify_password(kept, "cafe\u0301 au lait, s'il vous plai\u0302t")


async def test_hashes_are_argon2id_of_the_strength_that_owasp_asks_for() -> None:
    kept = await hash_password("correct horse battery staple")

    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not needs_rehash(kept)
    assert needs_rehash(kept.replace("m=19456", "m=1024"))


@pytest.mark.parametrize("password", ["fourteen chars", "ab" * 20, "é" * 600, ""])
def test_a_weak_or_an_endless_password_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput):
        check_password(password)


@pytest.mark.parametrize("password", ["fifteen letters", "春眠不觉晓处处闻啼鸟夜来风雨声", "a word " * 30])
def test_a_long_password_of_any_kind_is_taken(password: str) -> None:
    check_password(password)


async def test_an_unknown_address_costs_as_much_work_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await hash_password("correct horse battery staple")
    await verify_password(None, "the first one makes the hash that no password fits")
    verified: list[str] = []
    hasher = passwords._hasher

    class Watched:
        def verify(self, password_hash: str, password: str) -> bool:
            verified.append(password_hash.rsplit("$", 2)[0])
            return hasher.verify(password_hash, password)

    monkeypatch.setattr(passwords, "_hasher", Watched())

    await verify_password(kept, "not the right password")
    await verify_password(None, "not the right password")

    assert verified == ["$argon2id$v=19$m=19456,t=2,p=1"] * 2


async def test_more_than_can_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(passwords, "WAITING", 2)
    waiting = [asyncio.create_task(passwords._in_thread(held.wait)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await hash_password("correct horse battery staple")

    held.set()
    await asyncio.gather(*waiting)
    assert await hash_password("correct horse battery staple")
