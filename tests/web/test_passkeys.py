"""Passkeys: an answer counts for what it was asked for, in the browser that was asked, and for whom the key is."""

from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.wrappers import Response
from sqlalchemy import update

from core.accounts.factors.models import Challenge
from core.database import transaction
from tests.web.account_kit import Owner, browser_of, cookie_of, signed_in, state_of
from tests.web.authenticator import PRESENT, Device
from tests.web.browser import Browser, problem


@pytest.fixture
async def owner(app: Quart) -> Owner:
    return await Owner.made()


@pytest.fixture
async def device(app: Quart, owner: Owner) -> Device:
    return await enrolled(app, owner)


async def options(browser: Browser, path: str = "/api/session/passkey/options") -> dict[str, Any]:
    answer = await browser.call("POST", path)
    assert answer.status_code == 200, await answer.get_data(as_text=True)
    asked: dict[str, Any] = (await answer.get_json())["options"]
    return asked


async def enrolled(app: Quart, owner: Owner) -> Device:
    device, browser = Device(), await signed_in(app, owner)
    made = device.make(await options(browser, "/api/account/passkeys/options"))
    answer = await browser.call("POST", "/api/account/passkeys", {"name": "Laptop", "credential": made})
    assert answer.status_code == 201, await answer.get_data(as_text=True)
    return device


async def give(browser: Browser, credential: dict[str, Any]) -> Response:
    return await browser.call("POST", "/api/session/passkey", {"credential": credential})


async def pending(app: Quart, owner: Owner) -> Browser:
    """A browser that has given the password."""
    browser = browser_of(app)
    assert "passkey" in (await (await browser.sign_in(owner.email)).get_json())["methods"]
    return browser


async def refused(browser: Browser, credential: dict[str, Any]) -> None:
    answer = await give(browser, credential)
    assert (answer.status_code, (await problem(answer))["code"]) == (400, "wrong-passkey")
    assert await state_of(browser) == "anonymous"


async def test_a_passkey_signs_in_alone_and_as_the_second_step(app: Quart, owner: Owner, device: Device) -> None:
    alone, second = browser_of(app), await pending(app, owner)

    answers = [await give(one, device.sign(await options(one))) for one in (alone, second)]

    assert [one.status_code for one in answers] == [200, 200]
    assert [await state_of(one) for one in (alone, second)] == ["signed_in", "signed_in"]


async def test_somebody_elses_passkey_is_no_second_step(app: Quart, owner: Owner, device: Device) -> None:
    strangers, browser = await enrolled(app, await Owner.made()), await pending(app, owner)

    await refused(browser, strangers.sign(await options(browser)))
    strangers.owner = device.owner
    await refused(browser, strangers.sign(await options(browser)))


async def test_a_key_that_says_it_is_somebody_elses_signs_nobody_in(app: Quart, device: Device) -> None:
    victims, browser = await enrolled(app, await Owner.made()), browser_of(app)
    device.owner = victims.owner

    await refused(browser, device.sign(await options(browser)))
    device.owner = ""
    await refused(browser, device.sign(await options(browser)))


async def test_an_answer_counts_only_in_the_browser_that_was_asked(app: Quart, owner: Owner, device: Device) -> None:
    here, elsewhere = browser_of(app), browser_of(app)
    await elsewhere.open()

    await refused(elsewhere, device.sign(await options(here)))
    await refused(await pending(app, owner), device.sign(await options(await pending(app, owner))))


async def test_an_answer_to_another_question_is_none(app: Quart, device: Device) -> None:
    browser, making = browser_of(app), "/api/account/passkeys/options"
    let_in = await give(browser, device.sign(await options(browser)))
    browser.token = (await let_in.get_json())["csrf_token"]
    browser.client.delete_cookie("localhost", cookie_of(browser, "-csrf")[0])  # then all is bound to the session

    to_make, to_sign = await options(browser, making), await options(browser)
    made = {"name": "Laptop", "credential": Device().make(to_make | to_sign)}
    answers = [await browser.call("POST", "/api/account/passkeys", made), await give(browser, device.sign(to_make))]

    assert [(await problem(one))["code"] for one in answers] == ["wrong-passkey"] * 2


async def test_alone_a_device_must_have_verified_who_holds_it(app: Quart, owner: Owner, device: Device) -> None:
    device.flags = PRESENT
    alone, second = browser_of(app), await pending(app, owner)

    await refused(alone, device.sign(await options(alone)))
    assert (await give(second, device.sign(await options(second)))).status_code == 200


async def test_a_challenge_counts_once_and_for_five_minutes(app: Quart, device: Device) -> None:
    browser = browser_of(app)
    signed = device.sign(await options(browser))
    await refused(browser, signed | {"response": signed["response"] | {"signature": "AAAA"}})
    await refused(browser, signed)
    asked = await options(browser)
    async with transaction() as session:
        await session.execute(update(Challenge).values(expires_at=Challenge.expires_at - timedelta(minutes=5)))

    await refused(browser, device.sign(asked))


async def test_what_is_no_answer_at_all_is_refused(app: Quart) -> None:
    browser = browser_of(app)

    answers: list[dict[str, Any]] = [{}, {"response": {}}, {"response": {"attestationObject": 1}}, {"response": "x"}]
    for nonsense in answers:
        await refused(browser, nonsense)
