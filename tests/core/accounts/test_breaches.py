"""A stolen password is found without being told, and trouble of who knows them keeps nobody out."""

import hashlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from core.accounts import breaches, passwords
from core.errors import InvalidInput
from core.settings import settings
from tests.house import House

STOLEN = "correct horse battery staple"
DIGEST = hashlib.sha1(STOLEN.encode(), usedforsecurity=False).hexdigest().upper()


class Ranges:
    """A service of ranges: it counts how often one was asked for, and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status, self.lines = 200, f"{'0' * 35}:7\r\n{DIGEST[5:]}:12\r\n{'F' * 35}:0"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=self.lines, status=self.status)


@pytest.fixture
async def ranges(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ranges]:
    here, app = Ranges(), web.Application()
    app.router.add_get("/range/{prefix}", here.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    told = settings().model_copy(update={"breached_passwords_url": f"http://{host}:{port}"})
    monkeypatch.setattr(breaches, "settings", lambda: told)
    yield here
    await runner.cleanup()


async def test_a_stolen_password_is_refused_and_only_five_figures_of_its_hash_are_told(ranges: Ranges) -> None:
    with pytest.raises(InvalidInput) as refused:
        await passwords.check_password(STOLEN)

    assert "stolen" in refused.value.rule
    assert ranges.asked == [f"/range/{DIGEST[:5]}"]


async def test_one_that_was_not_stolen_and_padding_are_taken(ranges: Ranges) -> None:
    await passwords.check_password("another horse battery staple")
    ranges.lines = f"{DIGEST[5:]}:0"

    await passwords.check_password(STOLEN)


@pytest.mark.parametrize("status", [500, 429, 302])
async def test_who_does_not_answer_keeps_nobody_out_and_is_counted(ranges: Ranges, status: int) -> None:
    ranges.status = status
    before = breaches.unanswered._value.get()

    await passwords.check_password(STOLEN)

    assert breaches.unanswered._value.get() == before + 1


async def test_nobody_is_asked_unless_a_setting_says_whom(house: House) -> None:
    assert not await breaches.is_breached(STOLEN)
