import asyncio
import threading

import pytest

from core.accounts import passwords, strength
from core.accounts.passwords import Busy, check_password, hash_password, needs_rehash, verify_password
from core.errors import InvalidInput
from tests.house import House


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


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("fourteen chars", "at least 15 characters"),
        ("", "at least 15 characters"),
        ("é" * 600, "at most 1024 bytes"),
        ("ab" * 20, "harder to guess"),
        ("春" * 20, "harder to guess"),
        ("passwordpassword", "harder to guess"),
        ("qwertyuiopasdfgh", "harder to guess"),
        ("1234567890123456789", "harder to guess"),
        ("1q2w3e4r5t6y7u8i", "harder to guess"),
        ("passwordpassword@({[<", "harder to guess"),
        ("rosebudrosebud!!!!", "harder to guess"),
        ("!!!!!! football 2026", "many people have"),
        ("Clofy Cloud 2026!", "more in it"),
        ("ada.lovelace1815!!", "more in it"),
        ("Analytical-Engines-1", "more in it"),
    ],
)
async def test_a_password_that_is_guessed_is_refused_and_told_why(house: House, password: str, rule: str) -> None:
    about = ("ada.lovelace@engines.example", "Ada Lovelace", "Analytical Engines")

    with pytest.raises(InvalidInput) as refused:
        await check_password(password, about=about)

    assert rule in refused.value.rule


@pytest.mark.parametrize(
    "password",
    [
        "fifteen letters",
        "春眠不觉晓处处闻啼鸟夜来风雨声",
        "a word of mine " * 30,
        "correct horse battery staple",
        "clofy is a walrus with two umbrellas",
        "no {[(<4@31!|70$5+%2x8g6 at all" * 4,
    ],
)
async def test_a_long_password_of_any_kind_is_taken(house: House, password: str) -> None:
    await check_password(password, about=("ada@example.com", "Ada", None))


def test_thousands_of_common_ones_are_known() -> None:
    assert len(strength.COMMON) >= 3000


async def test_estimates_wait_for_each_other_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strength, "WAITING", 2)

    asked = [strength.guessability(f"correct horse battery {n}", ()) for n in range(4)]

    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(one, strength.Busy) for one in told] == [False, False, True, True]


async def test_a_full_meter_keeps_nobody_from_setting_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strength, "WAITING", 1)
    metered = asyncio.create_task(strength.guessability("correct horse battery", (), strength.METER))
    await asyncio.sleep(0)

    with pytest.raises(strength.Busy):
        await strength.guessability("correct horse battery", (), strength.METER)
    await check_password("violet otters juggle at noon")
    await metered


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
