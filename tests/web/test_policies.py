"""The pages of our documents, what one agrees to by registering, and who may not buy before they have agreed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from quart import Quart
from sqlalchemy import delete, select

from core.accounts.models import Account
from core.database import transaction
from core.privacy import engagements, policies
from core.privacy.policy_models import Document, PolicyEngagement, PolicyVersion, Weight
from tests.core.billing.kit import sign_in
from tests.makers import make_consultation
from tests.web.browser import Browser, live_codes


async def body(app: Quart, path: str, headers: dict[str, str] | None = None) -> str:
    answer = await app.test_client(use_cookies=False).get(path, headers=headers or {})
    assert answer.status_code == 200, path
    return await answer.get_data(as_text=True)


@pytest.mark.parametrize("document", Document)
async def test_a_document_is_shown_as_it_was_published(app: Quart, document: Document) -> None:
    current = await body(app, f"/{document}")

    assert current.count(f"<h1>{document.heading}</h1>") == 1
    assert "Version 1, in force since" in current
    assert (await policies.current(document, now=datetime.now(UTC))).hash.hex() in current
    assert f"<h1>{document.heading}</h1>" in await body(app, f"/{document}/versions/1")
    assert f'href="/{document}/versions/1"' in await body(app, f"/{document}/versions")


async def test_every_page_leads_to_them(app: Quart) -> None:
    for path in ("/", "/sign-in", "/blog", "/nothing-there"):
        page = await app.test_client().get(path)
        text = await page.get_data(as_text=True)
        for link in ("/privacy", "/terms", "/cookies", "/cookies#settings"):
            assert f'href="{link}"' in text, (path, link)


@pytest.mark.parametrize("path", ["/privacy/versions/2", "/privacy/versions/0", "/terms/versions/99999999999"])
async def test_there_is_no_page_of_a_version_that_there_is_not(app: Quart, path: str) -> None:
    assert (await app.test_client().get(path)).status_code == 404


async def test_programs_are_told_the_versions(app: Quart) -> None:
    told = await (await app.test_client().get("/api/policies")).get_json()

    assert [(one["document"], one["number"], len(one["hash"])) for one in told["versions"]] == [
        (document, 1, 64) for document in Document
    ]


async def deeds(account_id: UUID) -> set[tuple[str, int, str]]:
    async with transaction() as session:
        rows = await engagements.of_account(session, account_id=account_id)
    return {(one.document, one.number, one.what) for one in rows}


async def test_who_registers_has_agreed_to_what_the_page_showed(app: Quart) -> None:
    email, browser = f"{uuid4().hex}@people.example", Browser(app.test_client())
    assert 'name="policies" value="privacy:1 terms:1"' in await body(app, "/register")

    taken = await browser.register(email, policies="privacy:1 terms:1")
    assert taken.status_code == 202
    async with transaction() as session:
        [code] = await live_codes(session, email)
        account_id = await session.scalar(select(Account.id).where(Account.email == email))
    assert account_id is not None
    assert await deeds(account_id) == set()  # nobody has proven yet who registered
    assert (await browser.verify(email, code)).status_code == 204

    assert await deeds(account_id) == {
        (document, 1, what) for document in ("privacy", "terms") for what in ("shown", "accepted")
    }


async def test_a_page_that_showed_another_version_is_to_be_loaded_again(app: Quart) -> None:
    email, browser = f"{uuid4().hex}@people.example", Browser(app.test_client())

    refused = await browser.register(email, policies="privacy:1 terms:7")

    assert refused.status_code == 409
    assert (await refused.get_json())["code"] == "policy-changed"


async def test_that_somebody_opened_a_version_is_kept(app: Quart, account_id: UUID) -> None:
    headers = await sign_in(account_id)
    for _ in range(2):
        await body(app, "/privacy", headers)

    assert await deeds(account_id) == {("privacy", 1, "seen")}


@pytest.fixture
async def changed(app: Quart) -> AsyncIterator[datetime]:
    """A second version of the privacy policy that matters, in force since a minute ago; gone after the test."""
    now = datetime.now(UTC)
    async with transaction() as session:
        before = await policies.text_of_version(session, Document.PRIVACY, 1)
        words = before.replace("## Contact", "## How to reach us")
        session.add(
            PolicyVersion(
                document=Document.PRIVACY,
                number=2,
                weight=Weight.MATERIAL,
                summary="The last heading has other words.",
                text=words,
                hash=policies.hash_of(words),
                effective_at=now - timedelta(minutes=1),
                published_at=now,
                all_told_at=now,
            )
        )
    policies.forget()
    yield now
    async with transaction() as session:
        await session.execute(delete(PolicyEngagement).where(PolicyEngagement.number == 2))
        await session.execute(delete(PolicyVersion).where(PolicyVersion.number == 2))
    policies.forget()


async def test_what_changed_is_shown_and_the_old_version_stays(app: Quart, changed: datetime) -> None:
    new, old = await body(app, "/privacy"), await body(app, "/privacy/versions/1")

    assert "<del>## Contact</del>" in new
    assert "<ins>## How to reach us</ins>" in new
    assert "This is an earlier version." in old
    assert "<h2>Contact</h2>" in old


async def test_who_has_not_agreed_may_read_and_leave_but_not_buy_or_ask(
    app: Quart, changed: datetime, rich_id: UUID
) -> None:
    async with transaction() as session:
        consultation = await make_consultation(session, rich_id)
    headers, client = await sign_in(rich_id), app.test_client(use_cookies=False)

    async def tried() -> list[tuple[int, str | None]]:
        buying = await client.post("/api/purchases", json={"bundle": "none-such"}, headers=headers)
        asking = await client.post(
            f"/api/consultations/{consultation}/messages", json={"text": "Why?"}, headers=headers
        )
        return [(one.status_code, (await one.get_json()).get("code")) for one in (buying, asking)]

    assert await tried() == [(403, "not-agreed"), (403, "not-agreed")]
    for path in ("/statement", "/account", f"/consultations/{consultation}", "/credits/purchases"):
        assert "Until you agree you cannot buy or ask" in await body(app, path, headers)
    assert ("privacy", 2, "shown") in await deeds(rich_id)

    where = "/api/account/policies/privacy/2"
    assert (await client.delete(where, headers=headers)).status_code == 204
    declined = await body(app, "/account/policies", headers)
    assert "You declined." in declined
    assert "Have unused credits paid back" in declined
    assert (await tried())[0] == (403, "not-agreed")

    assert (await client.put(where, headers=headers)).status_code == 204
    assert [code for code, _ in await tried()] == [400, 202]
    assert "Nothing waits for your answer." in await body(app, "/account/policies", headers)
    told = await (await client.get("/api/account/policies", headers=headers)).get_json()
    assert (told["questions"], told["engagements"][0]["what"]) == ([], "accepted")


async def test_there_is_nothing_to_say_to_what_there_is_not(app: Quart, account_id: UUID) -> None:
    headers, client = await sign_in(account_id), app.test_client(use_cookies=False)

    for where in ("privacy/9", "nothing/1", f"terms/{2**31}", "terms/0"):
        assert (await client.put(f"/api/account/policies/{where}", headers=headers)).status_code == 404


async def test_a_browser_reads_that_its_signal_is_honoured(app: Quart) -> None:
    answer = await app.test_client().get("/.well-known/gpc.json")

    assert answer.mimetype == "application/json"
    said = await answer.get_json()
    assert said["gpc"] is True
    assert datetime.fromisoformat(said["lastUpdate"])
