"""Signing in step by step: who has given the password alone is nobody yet."""

import asyncio
from datetime import timedelta

import pytest
from quart import Quart
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import secrets
from core.accounts.factors import recovery
from core.accounts.factors.models import SignInAttempt
from core.accounts.models import Account, Role, WebSession
from core.audit import AuditEntry
from core.database import transaction
from core.settings import Secret
from tests.web.account_kit import Owner, browser_of, browser_with, cookie_of, signed_in, state_of, step_two
from tests.web.browser import Browser, mailed, problem, wrong
from web.session import NEEDS_ACCOUNT, permissions_of


@pytest.fixture
async def owner(app: Quart) -> Owner:
    return await (await Owner.made()).with_totp()


@pytest.fixture
async def pending(app: Quart, owner: Owner) -> Browser:
    """A browser that has given the password."""
    browser = browser_of(app)
    answer = await (await browser.sign_in(owner.email)).get_json()
    assert (answer["state"], answer["methods"]) == ("second_factor", ["totp"])
    return browser


async def with_email_codes() -> Owner:
    owner = await Owner.made()
    async with transaction() as session:
        await session.execute(update(Account).where(Account.id == owner.id).values(email_codes=True))
    return owner


async def actions(owner: Owner) -> list[tuple[str, str]]:
    async with transaction() as session:
        query = select(AuditEntry).where(AuditEntry.account_id == owner.id).order_by(AuditEntry.id)
        return [(one.action, one.outcome) for one in await session.scalars(query)]


async def test_the_password_and_then_the_code_sign_in(pending: Browser, owner: Owner) -> None:
    done = await step_two(pending, owner.code())

    assert (await done.get_json())["state"] == "signed_in"
    assert await state_of(pending) == "signed_in"
    assert await actions(owner) == [("signed_in", "done")]


async def test_password_passed_is_anonymous_on_every_route(app: Quart, pending: Browser) -> None:
    permissions = permissions_of(app)
    tried = 0
    for rule in app.url_map.iter_rules():
        if permissions[rule.endpoint] not in NEEDS_ACCOUNT:
            continue
        path = rule.rule
        for argument in rule.arguments:
            path = path.replace(f"<uuid:{argument}>", "018f0000-0000-7000-8000-000000000000")
            path = path.replace(f"<{argument}>", "x").replace(f"<int:{argument}>", "1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = await pending.call(method, path)
            assert answer.status_code in (401, 303), (method, path, answer.status_code)
            tried += 1
    assert tried > 30
    assert await state_of(pending) == "anonymous"


async def test_twenty_sign_ins_with_the_same_code_at_once_are_one(app: Quart, owner: Owner) -> None:
    browsers = [browser_of(app) for _ in range(20)]
    for browser in browsers:
        assert (await browser.sign_in(owner.email)).status_code == 200
    code = owner.code()

    answers = await asyncio.gather(*[step_two(browser, code) for browser in browsers])

    assert [answer.status_code for answer in answers].count(200) == 1
    assert {answer.status_code for answer in answers} <= {200, 400, 429}
    states = [await state_of(browser) for browser in browsers]
    assert states.count("signed_in") == 1


async def test_of_guesses_no_more_are_tried_than_the_budget_and_signing_in_does_not_renew_it(
    app: Quart, owner: Owner
) -> None:
    tried = 0
    for round_ in range(12):
        browser = browser_of(app)
        await browser.sign_in(owner.email)
        guess = await step_two(browser, wrong(owner.code()))
        tried += guess.status_code == 400
        if round_ == 2:
            right = await step_two(browser, owner.code())
            assert right.status_code == 200

    assert tried == 5
    assert (await problem(guess))["code"] == "too-many-tries"


async def test_an_attempt_is_over_after_five_minutes(pending: Browser, owner: Owner) -> None:
    async with transaction() as session:
        mine = update(SignInAttempt).where(SignInAttempt.account_id == owner.id)
        await session.execute(mine.values(expires_at=SignInAttempt.expires_at - timedelta(minutes=5)))

    late = await step_two(pending, owner.code())

    assert (late.status_code, (await problem(late))["code"]) == (401, "attempt-over")


async def test_an_attempt_ends_with_its_success_and_when_it_is_given_up(
    app: Quart, pending: Browser, owner: Owner
) -> None:
    assert (await pending.call("DELETE", "/api/session/second-factor")).status_code == 204
    gone = await step_two(pending, owner.code())
    await pending.sign_in(owner.email)
    stolen = cookie_of(pending, "-step")
    assert (await step_two(pending, owner.code())).status_code == 200
    thief = await browser_with(app, stolen)
    await owner.forget_steps()
    again = await step_two(thief, owner.code())

    assert gone.status_code == 401
    assert again.status_code == 401


async def test_signing_out_clears_a_second_sign_in_that_waits(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    answer = await browser.call(
        "POST", "/api/session", {"email": owner.email, "password": "correct horse battery staple"}
    )
    assert (await answer.get_json())["state"] == "second_factor"

    assert (await browser.call("DELETE", "/api/session")).status_code == 204

    await browser.open()
    await owner.forget_steps()
    assert (await step_two(browser, owner.code())).status_code == 401


async def test_a_changed_password_voids_what_waits(pending: Browser, owner: Owner) -> None:
    async with transaction() as session:
        await session.execute(update(Account).where(Account.id == owner.id).values(password_hash="$argon2id$new"))

    assert (await step_two(pending, owner.code())).status_code == 401


async def test_the_session_gets_a_fresh_id_and_the_old_one_ends(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    before = cookie_of(browser, "clofy")
    await browser.sign_in(owner.email)
    await owner.forget_steps()
    assert (await step_two(browser, owner.code())).status_code == 200

    thief = await browser_with(app, before)
    assert before != cookie_of(browser, "clofy")
    assert await state_of(thief) == "anonymous"
    assert (await actions(owner))[-1] == ("stepped_up", "done")


async def test_a_recovery_code_signs_in_once_and_the_owner_is_told(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    async with transaction() as one:
        codes = await recovery.make(one, account_id=owner.id)
    first, second = browser_of(app), browser_of(app)
    for browser in (first, second):
        answer = await (await browser.sign_in(owner.email)).get_json()
        assert answer["methods"] == ["totp", "recovery_code"]

    assert (await step_two(first, codes[0], "recovery_code")).status_code == 200
    assert (await step_two(second, codes[0], "recovery_code")).status_code == 400
    assert "9 of your codes are left" in (await mailed(session, owner.email))[-1].facts["what"]
    assert ("recovery_code_used", "done") in await actions(owner)
    assert (await actions(owner))[-1] == ("second_factor", "refused")


async def test_a_code_by_mail_signs_in_only_the_attempt_that_it_was_sent_for(app: Quart, session: AsyncSession) -> None:
    owner = await with_email_codes()
    here, elsewhere = browser_of(app), browser_of(app)
    assert (await (await elsewhere.sign_in(owner.email)).get_json())["methods"] == ["email_code"]
    await here.sign_in(owner.email)
    codes = [mail.facts["code"] for mail in await mailed(session, owner.email)]

    assert (await step_two(elsewhere, codes[1], "email_code")).status_code == 400
    assert (await step_two(elsewhere, codes[0], "email_code")).status_code == 400  # void since the second was sent
    assert (await step_two(here, codes[1], "email_code")).status_code == 200


async def test_a_code_by_mail_is_sent_three_times_in_ten_minutes(app: Quart, session: AsyncSession) -> None:
    owner = await with_email_codes()
    browser = browser_of(app)
    await browser.sign_in(owner.email)
    again = [await browser.call("POST", "/api/session/second-factor/email") for _ in range(3)]

    assert [one.status_code for one in again] == [202, 202, 429]
    assert len(await mailed(session, owner.email)) == 3


async def test_a_code_by_mail_dies_after_five_tries(app: Quart, session: AsyncSession) -> None:
    owner = await with_email_codes()
    browser = browser_of(app)
    await browser.sign_in(owner.email)
    code = (await mailed(session, owner.email))[-1].facts["code"]
    for _ in range(5):
        assert (await step_two(browser, wrong(code), "email_code")).status_code == 400
    async with transaction() as one:
        await one.execute(text("truncate limit_counts"))  # its own limit is what is looked at here

    assert (await step_two(browser, code, "email_code")).status_code == 400


async def test_an_account_with_an_app_never_falls_back_to_mail(
    pending: Browser, owner: Owner, session: AsyncSession
) -> None:
    async with transaction() as one:
        await one.execute(update(Account).where(Account.id == owner.id).values(email_codes=True))

    refused = await pending.call("POST", "/api/session/second-factor/email")

    assert refused.status_code == 400
    assert await mailed(session, owner.email) == []


async def test_an_admin_without_a_second_factor_gets_nowhere_but_to_enrol(app: Quart) -> None:
    owner = await Owner.made(role=Role.ADMIN)
    browser = await signed_in(app, owner)

    refused = [await browser.call("GET", path) for path in ("/api/account", "/api/credits", "/api/admin/accounts?q=a")]
    page = await browser.client.get("/consultations")
    factors = await browser.call("GET", "/api/account/factors")

    assert [(one.status_code, (await problem(one))["code"]) for one in refused] == [(403, "second-factor-needed")] * 3
    assert (page.status_code, page.headers["Location"]) == (303, "/security")
    assert factors.status_code == 200


async def test_an_admin_with_one_is_let_in(app: Quart) -> None:
    owner = await (await Owner.made(role=Role.ADMIN)).with_totp()
    browser = await signed_in(app, owner)

    assert (await browser.call("GET", "/api/admin/accounts?q=a")).status_code == 200


@pytest.mark.parametrize("weaker", ["email_code", "recovery_code"])
async def test_an_admin_by_mailed_code_or_recovery_code_gets_nowhere_but_to_enrol(app: Quart, weaker: str) -> None:
    owner = await (await Owner.made(role=Role.ADMIN)).with_totp()
    browser = await signed_in(app, owner)
    async with transaction() as one:
        await one.execute(update(WebSession).where(WebSession.account_id == owner.id).values(factor=weaker))

    refused = await browser.call("GET", "/api/admin/accounts?q=a")
    page = await browser.client.get("/security")

    assert (refused.status_code, (await problem(refused))["code"]) == (403, "second-factor-needed")
    assert "until then everything else is closed" in await page.get_data(as_text=True)


async def test_a_sign_in_in_a_new_browser_is_told_once_and_the_first_of_all_is_no_news(
    app: Quart, session: AsyncSession
) -> None:
    owner = await Owner.made()
    first = await signed_in(app, owner)
    await first.client.get("/account")  # from now on it is known
    assert await mailed(session, owner.email) == []

    await first.call("DELETE", "/api/session")
    await first.open()
    await first.sign_in(owner.email)
    assert await mailed(session, owner.email) == []

    await signed_in(app, owner)
    await signed_in(app, owner)
    assert [mail.template for mail in await mailed(session, owner.email)] == ["new_browser"]


async def test_a_browser_in_use_stays_known_when_the_key_is_changed(
    app: Quart, session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await Owner.made()
    browser = await signed_in(app, owner)
    await browser.client.get("/account")
    old, of_others = secrets.valid(Secret.SECRET_KEY), secrets.valid

    def accept(*keys: str) -> None:
        monkeypatch.setattr(secrets, "valid", lambda one: keys if one == Secret.SECRET_KEY else of_others(one))

    accept("the-next-key", *old)
    given = [(await browser.client.get("/account")).headers.getlist("Set-Cookie") for _ in range(2)]
    accept("the-next-key")  # a week later
    await browser.open()
    await browser.call("DELETE", "/api/session")
    await browser.open()
    await browser.sign_in(owner.email)

    assert ["-known=" in "".join(one) for one in given] == [True, False]
    assert await mailed(session, owner.email) == []
