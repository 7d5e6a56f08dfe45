"""Second factors from their owner's side: setting up, changing, losing; each told, noted, and only when fresh."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from quart import Quart
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.factors import lost
from core.accounts.factors.models import LostFactor
from core.accounts.models import Account, Role
from core.audit import NOBODY, AuditEntry
from core.database import transaction
from core.errors import NotFound
from core.mail import render
from core.mail.deliveries import Outgoing
from core.mail.models import Delivery
from core.queue import TaskName
from core.secrets import sign
from tests.web.account_kit import Owner, browser_of, signed_in, state_of, step_two
from tests.web.browser import PASSWORD, Browser, mailed, problem, wrong
from web.session import Permission, permissions_of

FRESH_ONES = [
    ("POST", "/api/account/totp"),
    ("POST", "/api/account/totp/confirm"),
    ("DELETE", "/api/account/totp"),
    ("POST", "/api/account/recovery-codes"),
    ("POST", "/api/account/passkeys/options"),
    ("POST", "/api/account/passkeys"),
    ("PUT", "/api/account/email-codes"),
    ("DELETE", "/api/account/email-codes"),
]


@pytest.fixture
async def owner(app: Quart) -> Owner:
    return await Owner.made()


async def call(browser: Browser, method: str, path: str, json: Any = None) -> Any:
    """The answer to a change, whose session token the browser goes on with."""
    answer = await browser.call(method, path, json)
    assert answer.status_code == 200, await answer.get_data(as_text=True)
    told = await answer.get_json()
    browser.token = told.get("csrf_token", browser.token)
    return told


async def enrol(browser: Browser, owner: Owner) -> list[str]:
    made = await call(browser, "POST", "/api/account/totp")
    owner.secret = made["key"].replace(" ", "")
    codes: list[str] = (await call(browser, "POST", "/api/account/totp/confirm", {"code": owner.code()}))[
        "recovery_codes"
    ]
    return codes


async def done(owner: Owner) -> list[str]:
    async with transaction() as session:
        query = select(AuditEntry).where(AuditEntry.account_id == owner.id).order_by(AuditEntry.id)
        return [one.action for one in await session.scalars(query) if one.outcome == "done"]


async def told(session: AsyncSession, owner: Owner) -> list[str]:
    return [mail.facts["what"] for mail in await mailed(session, owner.email) if mail.template == "security_change"]


async def test_an_app_is_set_up_by_its_first_code_and_asked_for_from_then_on(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    browser, elsewhere = await signed_in(app, owner), await signed_in(app, owner)
    codes = await enrol(browser, owner)
    factors = await call(browser, "GET", "/api/account/factors")
    new = await (await browser_of(app).sign_in(owner.email)).get_json()

    assert len(codes) == 10
    assert factors["totp_since"] is not None
    assert factors["recovery_codes_left"] == 10
    assert new["state"] == "second_factor"
    assert await state_of(browser) == "signed_in"
    assert await state_of(elsewhere) == "anonymous"  # it had given no second factor
    assert (await done(owner))[-2:] == ["recovery_codes_made", "factor_added"]
    assert await told(session, owner) == ["An authenticator app was added. Ten recovery codes were made for it."]


async def test_a_wrong_first_code_sets_nothing_up(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    made = await call(browser, "POST", "/api/account/totp")
    owner.secret = made["key"].replace(" ", "")

    refused = await browser.call("POST", "/api/account/totp/confirm", {"code": wrong(owner.code())})

    assert (await problem(refused))["code"] == "wrong-first-code"
    assert (await call(browser, "GET", "/api/account/factors"))["totp_since"] is None
    assert f"secret={owner.secret}" in made["uri"]


@pytest.mark.parametrize(("method", "path"), FRESH_ONES)
async def test_what_changes_factors_needs_a_sign_in_within_half_an_hour(
    app: Quart, owner: Owner, method: str, path: str
) -> None:
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))

    refused = await browser.call(method, path, {})

    assert (refused.status_code, (await problem(refused))["code"]) == (403, "sign-in-again")


async def test_every_route_that_changes_how_one_signs_in_is_fresh(app: Quart) -> None:
    permissions = permissions_of(app)
    changing = [
        (rule.rule, permissions[rule.endpoint])
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/account/")
        and {"POST", "PUT", "PATCH", "DELETE"} & (rule.methods or set())
        and rule.rule != "/api/account/lost-factor"  # to object must be easy
        and not rule.rule.startswith("/api/account/mail-topics/")  # which mails one wants opens nothing
        and not rule.rule.startswith(("/api/account/consents/", "/api/account/policies/"))  # nor what one agrees to
        and rule.rule != "/api/account/erasure"  # to keep one's account must be easy
    ]

    assert {path for _, path in FRESH_ONES} <= {path for path, _ in changing}
    assert {permission for path, permission in changing if "password" not in path} == {Permission.FRESH}


async def test_signing_in_again_makes_a_session_fresh(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))
    await browser.sign_in(owner.email)

    assert (await browser.call("POST", "/api/account/totp")).status_code == 200
    assert "stepped_up" in await done(owner)


async def test_removing_the_last_factor_voids_the_recovery_codes_and_is_told(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    browser = await signed_in(app, owner)
    await enrol(browser, owner)
    await call(browser, "DELETE", "/api/account/totp")
    factors = await call(browser, "GET", "/api/account/factors")
    new = await (await browser_of(app).sign_in(owner.email)).get_json()

    assert (factors["totp_since"], factors["recovery_codes_left"]) == (None, 0)
    assert new["state"] == "signed_in"
    assert "by its password alone" in (await told(session, owner))[-1]
    assert (await done(owner)).count("factor_removed") == 1


async def test_who_still_gets_codes_by_mail_is_told_so_when_the_app_is_removed(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    browser = await signed_in(app, owner)
    await call(browser, "PUT", "/api/account/email-codes")
    await enrol(browser, owner)
    await call(browser, "DELETE", "/api/account/totp")

    assert (await (await browser_of(app).sign_in(owner.email)).get_json())["methods"] == ["email_code"]
    assert "by its password and a code by mail" in (await told(session, owner))[-1]


async def test_an_admin_who_removes_the_last_factor_is_out_at_once(app: Quart) -> None:
    owner = await (await Owner.made(role=Role.ADMIN)).with_totp()
    browser = await signed_in(app, owner)
    await call(browser, "DELETE", "/api/account/totp")

    assert (await browser.call("GET", "/api/admin/accounts?q=a")).status_code == 403
    await enrol(browser, owner)
    assert (await browser.call("GET", "/api/admin/accounts?q=a")).status_code == 200


async def test_recovery_codes_are_made_anew_as_a_set(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    without = await browser.call("POST", "/api/account/recovery-codes")
    before = await enrol(browser, owner)
    after = (await call(browser, "POST", "/api/account/recovery-codes"))["recovery_codes"]
    other = browser_of(app)
    await other.sign_in(owner.email)

    assert (await problem(without))["code"] == "nothing-to-recover"
    assert len(after) == 10
    assert not set(before) & set(after)
    assert (await step_two(other, before[0], "recovery_code")).status_code == 400
    assert (await step_two(other, after[0], "recovery_code")).status_code == 200


async def test_codes_by_mail_are_turned_on_and_never_beside_an_app(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    await call(browser, "PUT", "/api/account/email-codes")
    asked = await (await browser_of(app).sign_in(owner.email)).get_json()
    await call(browser, "DELETE", "/api/account/email-codes")
    await enrol(browser, owner)
    refused = await browser.call("PUT", "/api/account/email-codes")

    assert (asked["state"], asked["methods"]) == ("second_factor", ["email_code"])
    assert (await problem(refused))["code"] == "better-factor-there"


async def lose(app: Quart, owner: Owner, session: AsyncSession) -> LostFactor:
    """Give the password and the mailed code, and say that the phone is gone."""
    browser = browser_of(app)
    await browser.sign_in(owner.email)
    assert (await browser.call("POST", "/api/session/lost-factor/code")).status_code == 202
    code = (await mailed(session, owner.email))[-1].facts["code"]
    refused = await browser.call("POST", "/api/session/lost-factor", {"code": wrong(code)})
    asked = await browser.call("POST", "/api/session/lost-factor", {"code": code})
    assert (refused.status_code, asked.status_code) == (400, 202)
    async with transaction() as one:
        return (await one.scalars(select(LostFactor).where(LostFactor.account_id == owner.id))).one()


async def move(asked: LostFactor, by: timedelta) -> None:
    """As if that much time had passed."""
    async with transaction() as session:
        mine = update(LostFactor).where(LostFactor.id == asked.id)
        await session.execute(mine.values(due_at=LostFactor.due_at - by, told_at=LostFactor.told_at - by))


async def work(name: TaskName) -> None:
    """Do the task once, as by a tick of beat."""
    from workers import runtime, upkeep  # their Celery application reads the settings that `house` has set

    assert upkeep
    await runtime.TASKS[name].body(cast("Any", None))


async def letters(session: AsyncSession, owner: Owner) -> list[Delivery]:
    return [mail for mail in await mailed(session, owner.email) if mail.template == "lost_factor_asked"]


async def test_a_lost_factor_is_removed_after_three_days_with_a_mail_each_day(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    browser = await signed_in(app, await owner.with_totp())
    asked = await lose(app, owner, session)
    counts = []
    for _ in range(2):
        await move(asked, timedelta(days=1))
        await work(TaskName.LOST_FACTORS)
        await work(TaskName.LOST_FACTORS)  # twice is once
        counts.append(len(await letters(session, owner)))
    waiting = browser_of(app)
    held = await (await waiting.sign_in(owner.email)).get_json()
    await move(asked, timedelta(days=1))
    await work(TaskName.LOST_FACTORS)
    after = await (await browser_of(app).sign_in(owner.email)).get_json()

    assert timedelta(hours=71) < asked.due_at - datetime.now(UTC) <= timedelta(hours=72)
    assert counts == [2, 3]
    assert held["methods"] == ["totp"]
    assert after["methods"] == ["email_code"]
    assert (await waiting.call("POST", "/api/session/second-factor/email")).status_code == 401  # begun before
    assert await state_of(browser) == "anonymous"
    async with transaction() as one:
        last = (await audit.history(one, account_id=owner.id))[0]
    assert (last.action, last.actor_id) == ("lost_factor_done", None)  # the house did it, and not its owner
    assert "were removed" in (await told(session, owner))[-1]


async def test_who_signs_in_while_the_link_is_pressed_waits_and_nobody_for_ever(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    asked = await lose(app, await owner.with_totp(), session)
    proof = sign(lost._signed(asked.id)).hex()

    async def press() -> None:
        async with transaction() as one:
            await lost.stop_by_link(one, request_id=asked.id, proof=proof, caller=NOBODY)

    async with transaction() as one:
        await one.execute(select(Account).where(Account.id == owner.id).with_for_update())  # as each sign-in begins
        pressing = asyncio.create_task(press())
        async with asyncio.timeout(10), transaction() as watching:
            waits = text("select exists (select from pg_locks where not granted)")
            while not await watching.scalar(waits):
                pass
        await lost.owner_is_there(one, account_id=owner.id, caller=NOBODY)

    with pytest.raises(NotFound):
        await pressing
    assert (await done(owner)).count("lost_factor_stopped") == 1


async def test_any_session_of_the_account_stops_it(app: Quart, owner: Owner, session: AsyncSession) -> None:
    browser = await signed_in(app, await owner.with_totp())
    await owner.age_sessions(timedelta(days=1))
    asked = await lose(app, owner, session)
    shown = await call(browser, "GET", "/api/account/factors")

    assert shown["lost"] is not None
    assert (await browser.call("DELETE", "/api/account/lost-factor")).status_code == 204
    await move(asked, timedelta(days=4))
    await work(TaskName.LOST_FACTORS)

    assert (await (await browser_of(app).sign_in(owner.email)).get_json())["methods"] == ["totp"]
    assert (await browser.call("DELETE", "/api/account/lost-factor")).status_code == 404
    assert "lost_factor_stopped" in await done(owner)


async def test_who_signs_in_with_the_factor_has_not_lost_it(app: Quart, owner: Owner, session: AsyncSession) -> None:
    asked = await lose(app, await owner.with_totp(), session)
    await signed_in(app, owner)
    await move(asked, timedelta(days=4))
    await work(TaskName.LOST_FACTORS)

    assert (await (await browser_of(app).sign_in(owner.email)).get_json())["methods"] == ["totp"]
    assert "lost_factor_stopped" in await done(owner)


async def test_another_password_ends_what_was_asked_by_the_old_one(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    browser = await signed_in(app, await owner.with_totp())
    asked = await lose(app, owner, session)
    changed = {"current": PASSWORD, "password": "violet otters juggle at noon"}
    assert (await browser.call("PUT", "/api/account/password", changed)).status_code == 200
    await move(asked, timedelta(days=4))
    await work(TaskName.LOST_FACTORS)

    again = browser_of(app)
    assert (await (await again.sign_in(owner.email, changed["password"])).get_json())["methods"] == ["totp"]
    assert "lost_factor_stopped" in await done(owner)


async def test_a_wrong_code_for_a_lost_factor_is_noted(app: Quart, owner: Owner, session: AsyncSession) -> None:
    await lose(app, await owner.with_totp(), session)

    async with transaction() as one:
        entries = await audit.history(one, account_id=owner.id)
    assert [entry.outcome for entry in entries if entry.action == "lost_factor_asked"] == ["done", "refused"]


async def test_the_link_of_its_mails_stops_it_once_the_button_is_pressed(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    asked = await lose(app, await owner.with_totp(), session)
    mail = (await letters(session, owner))[-1]
    text = render.render(Outgoing(mail.id, mail.recipient, mail.template, mail.facts)).get_body(("plain",))
    assert text is not None
    link = next(word for word in text.get_content().split() if "/lost-factor/stop?" in word)
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    stranger = browser_of(app)
    opened = await stranger.client.get(f"/lost-factor/stop?{urlsplit(link).query}")
    async with transaction() as one:
        still = await one.scalar(select(LostFactor.ended_at).where(LostFactor.id == asked.id))
    forged = await stranger.call("POST", "/api/lost-factor/stop", {**query, "proof": "00" * 32})
    stopped = await stranger.call("POST", "/api/lost-factor/stop", query)

    assert (opened.status_code, still) == (200, None)  # what reads links in mails presses no button
    assert (forged.status_code, stopped.status_code) == (404, 204)


async def test_who_has_no_password_cannot_say_that_a_factor_is_lost(app: Quart) -> None:
    browser = browser_of(app)

    asked = [
        await browser.call("POST", "/api/session/lost-factor/code"),
        await browser.call("POST", "/api/session/lost-factor", {"code": "123456"}),
    ]

    assert [one.status_code for one in asked] == [401, 401]


async def test_a_request_that_is_asked_for_twice_is_one(app: Quart, owner: Owner, session: AsyncSession) -> None:
    first = await lose(app, await owner.with_totp(), session)
    second = await lose(app, owner, session)

    assert first.id == second.id
    assert len(await letters(session, owner)) == 1
