from datetime import UTC, datetime
from uuid import uuid4

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, AccountCode
from core.audit import AuditEntry
from core.limits import LimitCount
from tests.web.browser import PASSWORD, Browser, live_codes, mailed, person, problem, wrong


@pytest.fixture
def email() -> str:
    return f"ada-{uuid4().hex[:12]}@example.com"


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


@pytest.fixture
def stranger(client: Client) -> Browser:
    assert isinstance(client.app, Quart)
    return Browser(client.app.test_client())


async def signed_up(browser: Browser, session: AsyncSession, email: str) -> None:
    await browser.register(email)
    await browser.verify(email, (await live_codes(session, email))[-1])
    assert (await browser.sign_in(email)).status_code == 200


async def test_one_registers_proves_the_address_and_is_signed_in(
    browser: Browser, session: AsyncSession, email: str
) -> None:
    registered = await browser.register(email, company="Analytical Engines")
    code = (await live_codes(session, email))[-1]
    verified = await browser.verify(email, code)
    signed_in = await browser.sign_in(email.upper())
    account = await browser.call("GET", "/api/account")

    assert [registered.status_code, verified.status_code, signed_in.status_code] == [202, 204, 200]
    assert (await signed_in.get_json())["state"] == "signed_in"
    shown = await account.get_json()
    assert (shown["email"], shown["name"], shown["company"], shown["role"]) == (
        email,
        "Ada",
        "Analytical Engines",
        "user",
    )


async def test_a_known_address_gets_the_same_answer_and_a_word_by_mail(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await signed_up(browser, session, email)
    unknown = await stranger.register(f"x{email}")

    known = await stranger.register(email, password="another long password")

    assert known.status_code == unknown.status_code
    assert await known.get_data() == await unknown.get_data()
    assert [mail.template for mail in await mailed(session, email)] == ["verification", "already_registered"]
    assert (await stranger.sign_in(email, "another long password")).status_code == 401


async def test_an_address_that_is_not_proven_cannot_sign_in_and_gets_a_new_code(
    browser: Browser, session: AsyncSession, email: str
) -> None:
    await browser.register(email)
    first = (await live_codes(session, email))[-1]

    with_right = await browser.sign_in(email)
    with_wrong = await browser.sign_in(email, "not the right password")

    assert (await problem(with_right))["code"] == "email-not-verified"
    assert (await problem(with_wrong))["code"] == "wrong-credentials"
    assert len(await live_codes(session, email)) == 1
    assert (await browser.verify(email, first)).status_code == 400


async def test_wrong_credentials_tell_nothing_about_the_address(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await signed_up(browser, session, email)

    known = await problem(await stranger.sign_in(email, "not the right password"))
    unknown = await problem(await stranger.sign_in(f"x{email}", "not the right password"))

    assert {**known, "request_id": ""} == {**unknown, "request_id": ""}


async def test_a_code_is_used_once_and_has_few_tries(browser: Browser, session: AsyncSession, email: str) -> None:
    await browser.register(email)
    code = (await live_codes(session, email))[-1]

    for _ in range(5):
        assert (await problem(await browser.verify(email, wrong(code))))["code"] == "wrong-code"

    assert (await problem(await browser.verify(email, code)))["code"] == "too-many-tries"
    await session.execute(delete(LimitCount))  # as if five minutes had passed
    await session.commit()
    assert (await browser.verify(email, code)).status_code == 400
    await browser.call("POST", "/api/accounts/verify/resend", {"email": email})
    new = (await live_codes(session, email))[-1]
    assert (await browser.verify(email, new)).status_code == 204
    assert (await browser.verify(email, new)).status_code == 400
    noted = select(AuditEntry.outcome).where(
        AuditEntry.action == "email_verified",
        AuditEntry.account_id.in_(select(Account.id).where(Account.email_key == email)),
    )
    assert sorted(await session.scalars(noted)) == ["done", *["refused"] * 7]


async def test_a_code_ends_after_a_quarter_of_an_hour(browser: Browser, session: AsyncSession, email: str) -> None:
    await browser.register(email)
    code = (await live_codes(session, email))[-1]
    owner = select(Account.id).where(Account.email_key == email).scalar_subquery()
    await session.execute(
        update(AccountCode).where(AccountCode.account_id == owner).values(expires_at=func.clock_timestamp())
    )
    await session.commit()

    assert (await browser.verify(email, code)).status_code == 400


async def test_a_stranger_who_registers_the_address_too_does_not_slip_his_password_in(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await stranger.register(email, password="the stranger's password", name="Mallory")
    await browser.register(email)
    await stranger.register(email, password="the stranger's password", name="Mallory")
    owners, strangers = await live_codes(session, email)

    by_mistake = await browser.verify(email, strangers)
    rightly = await browser.verify(email, owners)

    assert by_mistake.status_code == 400
    assert rightly.status_code == 204
    assert (await stranger.sign_in(email, "the stranger's password")).status_code == 401
    assert (await browser.sign_in(email)).status_code == 200
    assert (await (await browser.call("GET", "/api/account")).get_json())["name"] == "Ada"


async def test_a_single_code_may_be_used_on_another_device(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await browser.register(email)
    code = (await live_codes(session, email))[-1]

    assert (await stranger.verify(email, code)).status_code == 204
    assert (await browser.sign_in(email)).status_code == 200


async def test_codes_are_not_mailed_without_end(browser: Browser, session: AsyncSession, email: str) -> None:
    answers = [(await browser.register(email)).status_code for _ in range(6)]

    assert answers == [202] * 6
    assert len(await mailed(session, email)) == 3


async def test_who_is_too_young_leaves_nothing_and_may_not_try_another_date(
    browser: Browser, session: AsyncSession, email: str
) -> None:
    today = datetime.now(UTC).date()
    refused = await browser.register(email, birth_date=f"{today.year - 12}-01-01")
    again = await browser.register(email, birth_date="1990-01-01")

    assert (await problem(refused))["code"] == "too-young"
    assert (await problem(again))["code"] == "too-young"
    assert await session.scalar(select(func.count()).where(Account.email_key == email)) == 0
    assert await mailed(session, email) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "too short"}, "password"),
        ({"password": "aaaaaaaaaaaaaaaaaaaa"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"email": "not an address"}, "email"),
        ({"email": "a@b@c.example"}, "email"),
        ({"email": "ada\r\nBcc: all@example.com"}, "email"),
        ({"name": "  "}, "name"),
        ({"name": "Ada\nBcc: all@example.com"}, "name"),
        ({"birth_date": "31.12.1990"}, "birth_date"),
        ({"birth_date": "2990-12-31"}, "birth_date"),
        ({"birth_date": 0}, "birth_date"),
        ({"role": "admin"}, "role"),
        ({"email_verified_at": "2020-01-01T00:00:00Z"}, "email_verified_at"),
    ],
)
async def test_what_does_not_fit_is_named_and_not_repeated(
    browser: Browser, email: str, change: dict[str, object], field: str
) -> None:
    refused = await browser.call("POST", "/api/accounts", person(email) | change)

    document = await problem(refused)
    assert refused.status_code == 400
    assert [error["field"] for error in document["errors"]] == [field]
    assert "aaaa" not in (await refused.get_data(as_text=True))


async def test_a_session_gets_a_new_id_at_sign_in_and_the_old_one_ends(
    browser: Browser, session: AsyncSession, email: str
) -> None:
    await signed_up(browser, session, email)
    before = {one["id"] for one in (await (await browser.call("GET", "/api/sessions")).get_json())["sessions"]}

    await browser.sign_in(email)

    after = {one["id"] for one in (await (await browser.call("GET", "/api/sessions")).get_json())["sessions"]}
    assert len(before) == len(after) == 1
    assert before != after


async def test_signing_out_ends_the_session_and_clears_the_browser(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await signed_up(browser, session, email)
    signed_in = await stranger.sign_in(email)
    stolen = signed_in.headers["Set-Cookie"].split(";")[0]

    signed_out = await stranger.call("DELETE", "/api/session")
    replayed = await stranger.client.get("/api/account", headers={"Cookie": stolen})

    assert signed_out.status_code == 204
    assert signed_out.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert replayed.status_code == 401
    assert (await browser.call("GET", "/api/account")).status_code == 200


async def test_a_device_is_signed_out_from_another_one_and_never_by_somebody_else(
    browser: Browser, stranger: Browser, session: AsyncSession, email: str
) -> None:
    await signed_up(browser, session, email)
    await signed_up(stranger, session, f"x{email}")
    mine = (await (await browser.call("GET", "/api/sessions")).get_json())["sessions"][0]["id"]

    by_stranger = await stranger.call("DELETE", f"/api/sessions/{mine}")
    by_me = await browser.call("DELETE", f"/api/sessions/{mine}")

    assert by_stranger.status_code == 404
    assert by_me.status_code == 204
    assert (await browser.client.get("/api/account")).status_code == 401


async def test_a_disabled_account_is_out_at_once(browser: Browser, session: AsyncSession, email: str) -> None:
    await signed_up(browser, session, email)
    await session.execute(update(Account).where(Account.email_key == email).values(disabled_at=func.now()))
    await session.commit()

    assert (await browser.call("GET", "/api/account")).status_code == 401
    await browser.open()
    assert (await problem(await browser.sign_in(email)))["code"] == "wrong-credentials"


async def test_a_name_is_changed_and_nothing_else(browser: Browser, session: AsyncSession, email: str) -> None:
    await signed_up(browser, session, email)

    changed = await browser.call("PATCH", "/api/account", {"name": " Ada Lovelace ", "company": None})
    refused = await browser.call("PATCH", "/api/account", {"role": "admin"})

    assert (await changed.get_json())["name"] == "Ada Lovelace"
    assert refused.status_code == 400
    assert (await (await browser.call("GET", "/api/account")).get_json())["role"] == "user"
    entries = (await (await browser.call("GET", "/api/account/history")).get_json())["entries"]
    assert [one["words"] for one in entries].count("Name or company changed") == 1


async def test_many_failures_slow_down_and_tell_how_long(browser: Browser, session: AsyncSession, email: str) -> None:
    await signed_up(browser, session, email)
    for _ in range(10):
        assert (await browser.sign_in(email, "not the right password")).status_code == 401

    slowed = await browser.sign_in(email, PASSWORD)

    assert slowed.status_code == 429
    assert 240 <= int(slowed.headers["Retry-After"]) <= 300
