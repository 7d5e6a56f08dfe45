"""A new password by a code to the owner's address, for nobody else; and another one by who knows the old one."""

from dataclasses import replace
from uuid import uuid4

import pytest
from argon2 import PasswordHasher
from quart import Quart
from quart.typing import TestClientProtocol as Client
from quart.wrappers import Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts.models import Account
from core.audit import Action
from tests.web.account_kit import Owner, signed_in
from tests.web.browser import PASSWORD, Browser, live_codes, mailed, problem, wrong
from web import callers
from web.audit import WORDS

NEW = "seven umbrellas for one walrus"


@pytest.fixture
def email() -> str:
    return f"ada-{uuid4().hex[:12]}@example.com"


@pytest.fixture
async def browser(client: Client, session: AsyncSession, email: str) -> Browser:
    """Of somebody who is signed in."""
    made = Browser(client)
    await made.register(email)
    await made.verify(email, (await live_codes(session, email))[-1])
    assert (await made.sign_in(email)).status_code == 200
    return made


@pytest.fixture
def stranger(client: Client) -> Browser:
    assert isinstance(client.app, Quart)
    return Browser(client.app.test_client())


async def ask(browser: Browser, email: str) -> Response:
    return await browser.call("POST", "/api/password-reset", {"email": email})


async def confirm(browser: Browser, email: str, code: str, password: str = NEW) -> Response:
    return await browser.call(
        "POST", "/api/password-reset/confirm", {"email": email, "code": code, "password": password}
    )


async def actions(session: AsyncSession, email: str) -> list[tuple[str, str]]:
    owner = (await session.scalars(select(Account.id).where(Account.email_key == email))).one()
    return [(entry.action, entry.outcome) for entry in await audit.history(session, account_id=owner)]


@pytest.mark.parametrize("form", ["code", "link"])
async def test_the_owner_sets_a_new_password_by_the_code_and_is_signed_out_everywhere(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str, form: str
) -> None:
    asked = await ask(stranger, email)
    code = (await live_codes(session, email, form=form))[-1]
    done = await confirm(stranger, email, code)

    assert [asked.status_code, done.status_code] == [202, 204]
    assert (await stranger.client.get("/api/account")).status_code == 401
    assert (await browser.client.get("/api/account")).status_code == 401
    assert (await stranger.sign_in(email)).status_code == 401
    assert (await stranger.sign_in(email, NEW)).status_code == 200
    assert [mail.template for mail in await mailed(session, email)][1:] == ["password_reset", "security_change"]
    assert ("password_reset", "done") in await actions(session, email)


async def test_a_code_is_used_once_and_is_void_once_the_password_was_changed(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await ask(stranger, email)
    code, link = [(await live_codes(session, email, form=form))[-1] for form in ("code", "link")]
    changed = await browser.call("PUT", "/api/account/password", {"current": PASSWORD, "password": NEW})
    refused = [await confirm(stranger, email, one, "another long phrase of mine") for one in (code, link)]
    await ask(stranger, email)
    code = (await live_codes(session, email))[-1]
    used = [(await confirm(stranger, email, code, "another long phrase of mine")).status_code for _ in range(2)]

    assert changed.status_code == 200
    assert [(await problem(one))["code"] for one in refused] == ["wrong-code", "wrong-code"]
    assert used == [204, 400]


async def test_a_code_is_void_once_its_owner_has_signed_in(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await ask(stranger, email)
    code, link = [(await live_codes(session, email, form=form))[-1] for form in ("code", "link")]
    await browser.sign_in(email, "not the right password")
    kept = await live_codes(session, email)

    await browser.sign_in(email)
    refused = [await confirm(stranger, email, one) for one in (code, link)]

    assert kept == [code]
    assert [(await problem(one))["code"] for one in refused] == ["wrong-code", "wrong-code"]
    assert (await stranger.sign_in(email)).status_code == 200


async def test_no_answer_tells_whether_the_address_is_known(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    asked = [await ask(stranger, one) for one in (email, f"x{email}")]
    confirmed = [await problem(await confirm(stranger, one, "000000")) for one in (email, f"x{email}")]

    assert asked[0].status_code == asked[1].status_code == 202
    assert await asked[0].get_data() == await asked[1].get_data()
    assert {**confirmed[0], "request_id": ""} == {**confirmed[1], "request_id": ""}
    assert [mail.template for mail in await mailed(session, f"x{email}")] == ["no_account"]


async def test_an_unknown_address_is_told_so_by_mail_as_often_as_a_known_one_gets_codes(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    states = [[await mail_state(stranger, await ask(stranger, one)) for _ in range(4)] for one in (email, f"X{email}")]
    states += [[await mail_state(browser, await ask(browser, one)) for _ in range(3)] for one in (email, f"x{email}")]

    assert states == [["queued"] * 3 + ["withheld"]] * 2 + [["queued"] * 2 + ["withheld"]] * 2
    assert len(await mailed(session, f"x{email}")) == 5


async def mail_state(browser: Browser, asked: Response) -> str:
    """What the waiting page of this browser is told."""
    assert asked.status_code == 202
    state: str = (await (await browser.call("GET", "/api/mail-state")).get_json())["state"]
    return state


async def test_an_address_that_is_not_proven_or_an_account_that_is_disabled_gets_no_code(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await stranger.register(f"x{email}")
    await session.execute(update(Account).where(Account.email_key == email).values(disabled_at=Account.created_at))
    await session.commit()

    for one in (email, f"x{email}"):
        assert (await ask(stranger, one)).status_code == 202

    for one in (email, f"x{email}"):
        assert [mail.template for mail in await mailed(session, one)] == ["verification", "no_account"]


async def test_who_guesses_is_stopped_and_the_owner_is_not(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await ask(stranger, email)
    code, link = [(await live_codes(session, email, form=form))[-1] for form in ("code", "link")]
    guesses = [(await confirm(stranger, email, wrong(code))).status_code for _ in range(7)]
    long_ones = [(await confirm(stranger, email, "A" * 43)).status_code for _ in range(2)]
    owners = await confirm(browser, email, link)

    assert guesses == [400] * 5 + [429] * 2
    assert long_ones == [400] * 2
    assert owners.status_code == 204


async def test_who_fails_to_sign_in_without_end_keeps_the_owner_out_of_no_browser_of_theirs(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await browser.client.get("/consultations")  # any page: the browser is known from now on
    await browser.call("DELETE", "/api/session")
    await browser.open()
    while (await stranger.sign_in(email, "not the right password")).status_code != 429:
        pass
    elsewhere = await stranger.sign_in(email)
    at_home = await browser.sign_in(email)
    await ask(stranger, email)
    await confirm(stranger, email, (await live_codes(session, email))[-1])
    after_reset = await stranger.sign_in(email, NEW)

    assert [elsewhere.status_code, at_home.status_code, after_reset.status_code] == [429, 200, 200]


async def test_history_tells_what_was_done_and_what_was_not_let_in(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await stranger.sign_in(email, "not the right password")

    told = await (await browser.call("GET", "/api/account/history")).get_json()
    page = await browser.client.get("/account/history")

    words = [(entry["words"], entry["outcome"], entry["by"]) for entry in told["entries"]]
    assert words == [
        ("Sign-in refused", "refused", "somebody"),
        ("Signed in", "done", "you"),
        ("Address confirmed", "done", "you"),
        ("Registered", "done", "somebody"),
    ]
    assert told["next"] is None
    assert "Sign-in refused" in await page.get_data(as_text=True)
    assert (await browser.call("GET", "/api/account/history?before=x")).status_code == 400


def test_every_action_has_words() -> None:
    assert set(WORDS) == set(Action)


@pytest.mark.parametrize(
    "path", ["/forgot", "/reset?email=a@example.com", f"/reset?email=a@example.com&code={'x' * 43}"]
)
async def test_pages_of_a_lost_password_are_there_for_anybody(client: Client, path: str) -> None:
    page = await client.get(path)

    assert page.status_code == 200
    assert "password" in await page.get_data(as_text=True)


async def test_the_page_to_change_a_password_is_there(browser: Browser) -> None:
    page = await browser.client.get("/account/password")

    assert page.status_code == 200
    assert 'data-strength="password"' in await page.get_data(as_text=True)


async def test_a_weak_password_is_refused_before_the_code_is_used(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await ask(stranger, email)
    code = (await live_codes(session, email))[-1]

    refused = await problem(await confirm(stranger, email, code, f"{email.partition('@')[0]}1"))

    assert [error["field"] for error in refused["errors"]] == ["password"]
    assert (await confirm(stranger, email, code)).status_code == 204


async def test_a_password_is_changed_by_who_knows_the_old_one_and_other_sessions_end(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await stranger.sign_in(email)
    refused = await problem(
        await browser.call("PUT", "/api/account/password", {"current": "not the right password", "password": NEW})
    )

    changed = await browser.call("PUT", "/api/account/password", {"current": PASSWORD, "password": NEW})

    assert [error["field"] for error in refused["errors"]] == ["current"]
    assert changed.status_code == 200
    assert (await browser.client.get("/api/account")).status_code == 200
    assert (await stranger.client.get("/api/account")).status_code == 401
    assert [mail.template for mail in await mailed(session, email)][1:] == ["new_browser", "security_change"]
    assert (await actions(session, email))[:2] == [("password_changed", "done"), ("password_changed", "refused")]


async def test_the_meter_tells_what_a_password_lacks(stranger: Browser) -> None:
    weak = await stranger.call(
        "POST", "/api/password-strength", {"password": "ada.lovelace1815", "name": "Ada Lovelace"}
    )
    good = await stranger.call("POST", "/api/password-strength", {"password": NEW})

    assert (await weak.get_json())["rule"] == "must have more in it than your name, your address and ours"
    assert await good.get_json() == {"score": 4, "rule": None}


async def test_weaker_hashes_are_made_anew_at_sign_in(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    query = select(Account.password_hash).where(Account.email_key == email)
    kept = (await session.scalars(query)).one()
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await session.execute(update(Account).where(Account.email_key == email).values(password_hash=weak))
    await session.commit()

    await stranger.sign_in(email)

    again = (await session.scalars(query)).one()
    assert again not in (weak, kept)
    assert "m=19456,t=2,p=1" in again


@pytest.mark.parametrize(
    ("name", "asked", "body"),
    [
        ("METER", "POST /api/password-strength", {"password": "violet otters juggle at noon"}),
        ("CHALLENGES", "POST /api/session/passkey/options", None),
        ("CONSULTATIONS", "POST /api/consultations", {"service": "general-advisor"}),
        ("PAPERS", "GET /api/credits/entries.csv", None),
        ("PAPERS", "GET /api/receipts/CC-000001.pdf", None),
    ],
)
async def test_what_costs_us_is_not_asked_for_without_end(
    app: Quart, monkeypatch: pytest.MonkeyPatch, name: str, asked: str, body: dict[str, str] | None
) -> None:
    limit, one = getattr(limits, name), (limits.Window(1, limits.HOUR),)
    fewer = replace(limit, name=f"{name} of a test", account=limit.account and one, ip=limit.ip and one)
    monkeypatch.setattr(limits, name, fewer)
    monkeypatch.setattr(callers, "NO_NETWORK", "")  # so that the peer of a test counts as an address
    browser = await signed_in(app, await Owner.made())

    method, path = asked.split()
    answers = [await browser.call(method, path, body) for _ in range(2)]

    assert answers[0].status_code in (200, 201, 404)
    assert answers[1].status_code == 429
