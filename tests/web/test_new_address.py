"""Another e-mail address: by a code to the new one, told to the old one, which may take it back."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from quart import Quart
from quart.wrappers import Response
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Account
from core.mail.deliveries import Outgoing
from core.mail.models import Delivery
from core.mail.render import render
from tests.web.account_kit import Owner, browser_of, signed_in, state_of, step_two
from tests.web.browser import Browser, mailed, person, problem, wrong


@pytest.fixture
async def owner(app: Quart) -> Owner:
    return await Owner.made()


@pytest.fixture
def new() -> str:
    return f"{uuid4().hex}@new.example"


async def ask(browser: Browser, email: str) -> Response:
    return await browser.call("POST", "/api/account/email", {"email": email})


async def confirm(browser: Browser, email: str, code: str) -> Response:
    response = await browser.call("POST", "/api/account/email/confirm", {"email": email, "code": code})
    if response.status_code == 200:
        browser.token = (await response.get_json())["csrf_token"]
    return response


async def code_for(session: AsyncSession, email: str, form: str = "code") -> str:
    code: str = [mail.facts[form] for mail in await mailed(session, email) if mail.template == "email_change_code"][-1]
    return code


async def changed(browser: Browser, session: AsyncSession, email: str) -> None:
    assert (await ask(browser, email)).status_code == 202
    assert (await confirm(browser, email, await code_for(session, email))).status_code == 200


async def links_for(session: AsyncSession, email: str) -> list[str]:
    """Of the mails to an old address, as they are sent."""
    found = []
    for mail in await mailed(session, email):
        if mail.template == "email_change":
            text = render(Outgoing(mail.id, mail.recipient, mail.template, mail.facts)).get_body(("plain",))
            assert text is not None
            link = next(word for word in text.get_content().split() if "/email-change/stop?" in word)
            found.append(parse_qs(urlsplit(link).query)["link"][0])
    return found


async def stop(browser: Browser, link: str) -> int:
    return (await browser.call("POST", "/api/email-change/stop", {"link": link})).status_code


async def address_of(session: AsyncSession, owner: Owner) -> str:
    return (await session.scalars(select(Account.email_key).where(Account.id == owner.id))).one()


async def done(session: AsyncSession, owner: Owner) -> list[tuple[str, str]]:
    return [(entry.action, entry.outcome) for entry in await audit.history(session, account_id=owner.id)]


@pytest.mark.parametrize("form", ["code", "link"])
async def test_the_address_is_changed_by_the_code_that_it_got_and_all_others_are_signed_out(
    app: Quart, owner: Owner, session: AsyncSession, new: str, form: str
) -> None:
    browser, other = await signed_in(app, owner), await signed_in(app, owner)
    before = browser.token

    asked = await ask(browser, new)
    taken = await confirm(browser, new, await code_for(session, new, form))

    assert (asked.status_code, taken.status_code) == (202, 200)
    assert browser.token != before
    assert (await state_of(browser), await state_of(other)) == ("signed_in", "anonymous")
    assert (await (await browser.call("GET", "/api/account")).get_json())["email"] == new
    assert (await browser_of(app).sign_in(owner.email)).status_code == 401
    assert (await browser_of(app).sign_in(new)).status_code == 200
    assert [mail.template for mail in await mailed(session, owner.email)][-2:] == ["email_change"] * 2
    to_new = await mailed(session, new)
    assert [mail.template for mail in to_new][:2] == ["email_change_code", "security_change"]
    assert set(to_new[0].facts) == {"code", "link", "email"}  # no words of who asks: it may be anybody's address
    assert {("email_change_asked", "done"), ("email_changed", "done")} <= set(await done(session, owner))


async def test_a_code_is_good_for_the_address_that_it_was_mailed_to_and_no_other(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    browser = await signed_in(app, owner)
    await ask(browser, new)
    code, link = [await code_for(session, new, form) for form in ("code", "link")]

    refused = [await confirm(browser, *one) for one in ((f"x{new}", code), (f"x{new}", link), (new, wrong(code)))]

    assert [(await problem(one))["code"] for one in refused] == ["wrong-code"] * 3
    assert await address_of(session, owner) == owner.email
    assert ("email_changed", "refused") in await done(session, owner)


async def test_a_code_of_another_account_is_none(app: Quart, owner: Owner, session: AsyncSession, new: str) -> None:
    browser, stranger = await signed_in(app, owner), await signed_in(app, await Owner.made())
    await ask(browser, new)

    assert (await confirm(stranger, new, await code_for(session, new, "link"))).status_code == 400


async def test_whether_an_address_is_taken_is_told_to_who_reads_its_mail_and_nobody_else(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    browser, other = await signed_in(app, owner), await Owner.made()

    asked = [await ask(browser, one) for one in (new, other.email)]
    taken = await confirm(browser, other.email, await code_for(session, other.email))

    assert asked[0].status_code == asked[1].status_code == 202
    assert await asked[0].get_data() == await asked[1].get_data()
    assert (await problem(taken))["code"] == "address-taken"
    assert await address_of(session, owner) == owner.email
    assert await state_of(browser) == "signed_in"


async def test_a_registration_that_nobody_proved_is_in_nobodys_way(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    await browser_of(app).call("POST", "/api/accounts", person(new))

    await changed(await signed_in(app, owner), session, new)

    assert await address_of(session, owner) == new


async def test_ones_own_address_is_no_other(app: Quart, owner: Owner) -> None:
    refused = await problem(await ask(await signed_in(app, owner), owner.email.upper()))

    assert [error["field"] for error in refused["errors"]] == ["email"]


async def test_it_needs_a_sign_in_within_half_an_hour(app: Quart, owner: Owner, new: str) -> None:
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))

    refused = [await problem(one) for one in (await ask(browser, new), await confirm(browser, new, "000000"))]

    assert [one["code"] for one in refused] == ["sign-in-again"] * 2
    link = f"/account/email?email={new}&code=123456"
    for asks in (browser, browser_of(app)):
        page = await asks.client.get(link)
        assert page.status_code == 303
        assert parse_qs(urlsplit(page.headers["Location"]).query)["next"] == [link]  # it comes back with its code


async def test_a_sign_in_that_had_begun_is_over_after_it(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    browser, waiting = await signed_in(app, await owner.with_totp()), browser_of(app)
    await waiting.sign_in(owner.email)

    await changed(browser, session, new)

    await owner.forget_steps()
    assert (await step_two(waiting, owner.code())).status_code == 401


async def test_codes_for_a_new_password_are_void_after_it(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    browser = await signed_in(app, owner)
    await browser.call("POST", "/api/password-reset", {"email": owner.email})
    code = next(mail.facts["link"] for mail in await mailed(session, owner.email) if mail.template == "password_reset")

    await changed(browser, session, new)

    body = {"email": new, "code": code, "password": "seven umbrellas for one walrus"}
    assert (await browser.call("POST", "/api/password-reset/confirm", body)).status_code == 400


@pytest.mark.parametrize("is_done", [False, True])
async def test_the_old_address_stops_it_by_its_link_once_the_button_is_pressed(
    app: Quart, owner: Owner, session: AsyncSession, new: str, is_done: bool
) -> None:
    thief, stranger = await signed_in(app, owner), browser_of(app)
    await ask(thief, new)
    code = await code_for(session, new)
    if is_done:
        await confirm(thief, new, code)
    link = (await links_for(session, owner.email))[0]

    page = await stranger.client.get(f"/email-change/stop?link={link}")
    still = await address_of(session, owner)
    stopped = [await stop(stranger, one) for one in (f"{link[:-2]}AA", "x", link, link)]

    assert page.status_code == 200
    assert still == (new if is_done else owner.email)
    assert stopped == [404, 404, 204, 404]
    assert await address_of(session, owner) == owner.email
    assert await state_of(thief) == "anonymous"
    assert ("email_change_stopped", "done") in await done(session, owner)
    again = await signed_in(app, owner)
    assert (await confirm(again, new, code)).status_code == 400


async def test_who_took_an_account_over_and_changed_twice_does_not_take_it_back_from_its_owner(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    thief, stranger = await signed_in(app, owner), browser_of(app)
    await changed(thief, session, new)
    await changed(thief, session, f"x{new}")
    owners, thiefs = (await links_for(session, owner.email))[0], (await links_for(session, new))[0]

    stopped = [await stop(stranger, one) for one in (thiefs, owners, thiefs)]

    assert stopped == [204, 204, 404]
    assert await address_of(session, owner) == owner.email


async def test_the_link_works_for_a_week(
    app: Quart, owner: Owner, session: AsyncSession, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await changed(await signed_in(app, owner), session, new)
    link = (await links_for(session, owner.email))[0]
    monkeypatch.setattr("core.accounts.new_address.STOPPED_WITHIN", timedelta(0))

    assert await stop(browser_of(app), link) == 404
    assert await address_of(session, owner) == new


async def test_the_link_works_when_the_mail_has_been_wiped(
    app: Quart, owner: Owner, session: AsyncSession, new: str
) -> None:
    await ask(await signed_in(app, owner), new)
    link = (await links_for(session, owner.email))[0]
    await session.execute(update(Delivery).where(Delivery.recipient == owner.email).values(facts={}))
    await session.commit()

    assert await stop(browser_of(app), link) == 204


async def test_its_pages_are_there(app: Quart, owner: Owner, new: str) -> None:
    browser = await signed_in(app, owner)
    texts = []
    for path in ("/account", "/account/email", f"/account/email?email={new}", f"/account/email?email={new}&code=1"):
        page = await browser.client.get(path)
        assert page.status_code == 200
        texts.append(await page.get_data(as_text=True))

    assert 'href="/account/email"' in texts[0]
    assert 'data-api="/api/account/email"' in texts[1]
    assert all('data-api="/api/account/email/confirm"' in text for text in texts[2:])
