"""Closing one's account: what the pages say, what is still open meanwhile, undoing it, and the proof."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from quart import Quart
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Role
from core.accounts.web_sessions import csrf_token, start_session, token_hash
from core.credits import ledger
from core.database import transaction
from core.mail.models import Delivery
from core.privacy import erasure, erasure_steps
from tests.core.billing.kit import make_credited
from tests.web.account_kit import Owner, browser_of, signed_in, state_of
from tests.web.browser import Browser, problem
from tests.web.test_who_may import make_somebody
from web.session import NEEDS_ACCOUNT, WHILE_CLOSING, permissions_of

SAFE = {"GET", "HEAD", "OPTIONS"}
ASKED = {"kind": "erasure"}


@pytest.fixture
async def owner(app: Quart) -> Owner:
    return await Owner.made()


async def text_of(browser: Browser, path: str) -> str:
    response = await browser.call("GET", path)
    assert response.status_code == 200, path
    return str(await response.get_data(as_text=True))


async def closing(app: Quart, owner: Owner) -> Browser:
    """They have asked, and signed in again."""
    browser = await signed_in(app, owner)
    assert (await browser.call("POST", "/api/privacy/requests", ASKED)).status_code == 201
    return await signed_in(app, owner)


async def erased(account_id: UUID, session: AsyncSession) -> str:
    """Done; the token of the last mail's link."""
    now = datetime.now(UTC)
    async with transaction() as one:
        made = await erasure.begin(one, account_id=account_id, now=now - erasure.GRACE)
    async with transaction() as one:
        await erasure_steps.start(one, made.id, now=now)
        await erasure_steps.finish(one, made.id, outside={"blobs": {"public": 2}, "purchases": 1}, now=now)
    last = (await session.scalars(select(Delivery).where(Delivery.key == f"erasure:{made.id}:done"))).one()
    token: str = last.facts["link"]
    return token


async def test_who_asks_is_signed_out_everywhere_and_may_sign_in_to_undo_it(app: Quart, owner: Owner) -> None:
    browser, other = await signed_in(app, owner), await signed_in(app, owner)

    asked = await browser.call("POST", "/api/privacy/requests", ASKED)

    assert asked.status_code == 201
    assert [await state_of(one) for one in (browser, other)] == ["anonymous", "anonymous"]
    again = await signed_in(app, owner)
    standing = await (await again.call("GET", "/api/account/erasure")).get_json()
    assert (standing["state"], standing["can_undo"], standing["waits_for"]) == ("grace", True, None)
    assert (await again.call("DELETE", "/api/account/erasure")).status_code == 204
    assert (await (await again.call("GET", "/api/account/erasure")).get_json())["state"] == "none"
    assert (await again.call("DELETE", "/api/account/erasure")).status_code == 404


async def test_it_needs_a_fresh_sign_in(app: Quart, owner: Owner) -> None:
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))

    asked = await browser.call("POST", "/api/privacy/requests", ASKED)
    page = await browser.call("GET", "/account/close")

    assert (await problem(asked))["code"] == "sign-in-again"
    assert page.headers["Location"].startswith("/sign-in?again")


async def test_each_page_says_that_the_account_closes_until_it_is_undone(app: Quart, owner: Owner) -> None:
    browser = await closing(app, owner)

    for path in ("/", "/account", "/credits", "/statement", "/notices", "/account/close", "/security"):
        assert "Keep my account" in await text_of(browser, path), path
    await browser.call("DELETE", "/api/account/erasure")
    for path in ("/", "/account", "/account/close"):
        assert "Keep my account" not in await text_of(browser, path), path


async def test_while_it_closes_nothing_can_be_done_but_what_the_list_has(app: Quart) -> None:
    somebody = await make_somebody("admin")
    async with transaction() as session:
        await erasure.begin(session, account_id=somebody.account_id, now=datetime.now(UTC))
        token = await start_session(session, account_id=somebody.account_id, user_agent="", ip="", factor="totp")
    cookie = f"{app.extensions['site'].session_cookie}={token}"
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf_token(token_hash(token))}
    permissions = permissions_of(app)
    refused: set[str] = set()
    others: set[str] = set()

    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - SAFE:
            if permissions[rule.endpoint] not in NEEDS_ACCOUNT or rule.endpoint in WHILE_CLOSING:
                continue
            path = rule.rule
            for name in rule.arguments:
                converter = next(part for part in ("<uuid:", "<int:", "<") if f"{part}{name}>" in path)
                path = path.replace(f"{converter}{name}>", somebody.things.get(name, "0"))
            answer = await app.test_client(use_cookies=False).open(path, method=method, headers=headers, json={})
            said = await answer.get_data(as_text=True)
            (refused if "account-closes" in str(said) else others).add(rule.endpoint)

    assert others == set()
    assert len(refused) > 30
    assert set(permissions) >= WHILE_CLOSING


async def test_unused_credits_are_named_with_the_way_to_the_refund(app: Quart, owner: Owner) -> None:
    purchase, _ = await make_credited()
    async with transaction() as session:
        token = await start_session(session, account_id=purchase.account_id, user_agent="", ip="")
        await ledger.grant(
            session, account_id=purchase.account_id, amount_mc=7_000, source=f"t:{purchase.id}", kind="grant"
        )
    browser = browser_of(app)
    browser.client.set_cookie("localhost", app.extensions["site"].session_cookie, token)
    await browser.open()

    page = await text_of(browser, "/account/close")

    assert "507 credits are unused" in page
    assert f'href="/credits/purchases/{purchase.id}"' in page
    assert "$5.00 for 500 unused credits" in page


async def test_the_page_says_what_goes_what_stays_and_for_how_long(app: Quart, owner: Owner) -> None:
    page = await text_of(await signed_in(app, owner), "/account/close")

    assert "The words of your questions" in page
    assert "A number without name or address" in page
    assert "Books are kept" not in page  # they have bought nothing
    assert "at most 10 years" in page
    assert "at most a year" in page  # of the log: they have signed in
    assert "Erase my account in 7 days" in page


async def test_the_last_mails_link_shows_the_proof_and_saves_it(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    token = await erased(owner.id, session)
    browser = browser_of(app)

    page = await text_of(browser, f"/erasure/{token}")
    saved = await browser.call("GET", f"/api/erasures/{token}")
    wrong = [await browser.call("GET", f"{path}/{token}x") for path in ("/erasure", "/api/erasures")]

    assert "This account is erased" in page
    assert "And 2 files in our storage" in page
    proof = await saved.get_json()
    assert proof["signature"] in page
    assert owner.email not in page + str(proof)
    assert saved.headers["Content-Disposition"] == 'attachment; filename="erasure-proof.json"'
    assert [one.status_code for one in wrong] == [404, 404]


async def test_an_erased_account_cannot_be_told_from_one_that_never_was(
    app: Quart, owner: Owner, session: AsyncSession
) -> None:
    await erased(owner.id, session)

    answers = [await browser_of(app).sign_in(one) for one in (owner.email, f"x{owner.email}")]
    told = [await (await browser_of(app).register(one)).get_json() for one in (owner.email, f"x{owner.email}")]

    assert [(await problem(one))["code"] for one in answers] == ["wrong-credentials"] * 2
    assert told == [{"state": "code_sent"}] * 2


async def test_an_admin_who_is_not_the_last_may_go(app: Quart) -> None:
    await (await Owner.made(role=Role.ADMIN)).with_totp()
    admin = await (await Owner.made(role=Role.ADMIN)).with_totp()

    asked = await (await signed_in(app, admin)).call("POST", "/api/privacy/requests", ASKED)

    assert asked.status_code == 201
