"""Privacy requests by the API: for oneself, and as admins work on them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from quart import Quart
from sqlalchemy import select

from core.accounts.models import Role
from core.audit import AuditEntry
from core.database import transaction
from core.mail.models import Delivery
from tests.web.account_kit import Owner, browser_of, signed_in
from tests.web.browser import Browser, problem

REQUESTS = "/api/privacy/requests"


async def asked(browser: Browser, kind: str, status: int = 201, **facts: Any) -> dict[str, Any]:
    response = await browser.call("POST", REQUESTS, {"kind": kind, **facts})
    assert response.status_code == status, await response.get_data(as_text=True)
    found: dict[str, Any] = await response.get_json()
    return found


async def got(browser: Browser, path: str) -> Any:
    response = await browser.call("GET", path)
    assert response.status_code == 200, await response.get_data(as_text=True)
    return await response.get_json()


async def admin_browser(app: Quart) -> Browser:
    return await signed_in(app, await (await Owner.made(role=Role.ADMIN)).with_totp())


async def mails_to(address: str) -> list[Delivery]:
    async with transaction() as session:
        query = select(Delivery).where(Delivery.recipient == address).order_by(Delivery.id)
        return list(await session.scalars(query))


async def test_one_of_a_kind_at_a_time_and_taken_back(app: Quart) -> None:
    browser = await signed_in(app, await Owner.made())

    first = await asked(browser, "correction", details="My company is spelt wrong.")
    again = await asked(browser, "correction", 200, details="And the town.")

    assert again["id"] == first["id"]
    assert again["details"] == "My company is spelt wrong.\n\nAnd the town."
    assert (await got(browser, REQUESTS))["requests"] == [again]
    gone = await browser.call("DELETE", f"{REQUESTS}/{first['id']}")
    assert gone.status_code == 204
    assert (await got(browser, f"{REQUESTS}/{first['id']}"))["state"] == "withdrawn"
    assert (await browser.call("DELETE", f"{REQUESTS}/{first['id']}")).status_code == 409
    assert (await asked(browser, "correction"))["id"] != first["id"]


async def test_the_same_attempt_is_answered_the_same(app: Quart) -> None:
    browser = await signed_in(app, await Owner.made())
    headers = {"Idempotency-Key": uuid4().hex, "X-CSRF-Token": browser.token}

    answers = [await browser.client.post(REQUESTS, json={"kind": "objection"}, headers=headers) for _ in range(2)]

    assert [one.status_code for one in answers] == [201, 201]
    assert (await answers[0].get_json()) == (await answers[1].get_json())


async def test_a_copy_is_begun_at_once(app: Quart) -> None:
    browser = await signed_in(app, await Owner.made())

    assert (await asked(browser, "access"))["state"] == "working"

    (export,) = (await got(browser, "/api/exports"))["exports"]
    assert export["state"] == "building"


async def test_an_erasure_needs_a_fresh_sign_in_and_nothing_else_does(app: Quart) -> None:
    owner = await Owner.made()
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))

    refused = await browser.call("POST", REQUESTS, {"kind": "erasure"})

    assert (await problem(refused))["code"] == "sign-in-again"
    assert (await got(browser, REQUESTS))["requests"] == []
    await asked(browser, "restriction")


async def test_a_restriction_ends_questions_and_its_owner_ends_it(app: Quart) -> None:
    browser = await signed_in(app, await Owner.made())
    begun = await browser.call("POST", "/api/consultations", {"service": "general-advisor"})
    path = f"/api/consultations/{(await begun.get_json())['id']}/messages"

    assert (await asked(browser, "restriction"))["state"] == "answered"

    refused = await browser.call("POST", path, {"text": "Why?"})
    assert (await problem(refused))["code"] == "data-restricted"
    assert (await browser.call("DELETE", "/api/privacy/restriction")).status_code == 204
    assert (await browser.call("DELETE", "/api/privacy/restriction")).status_code == 409
    asked_again = await browser.call("POST", path, {"text": "Why?"})
    assert (await problem(asked_again))["code"] == "not-enough-credits"


async def test_what_is_kept_is_told_by_class(app: Quart) -> None:
    browser = await signed_in(app, await Owner.made())

    classes = {one["data_class"]: one for one in (await got(browser, "/api/privacy/data"))["classes"]}

    assert classes["transcript"]["kept_days"] == 30
    assert classes["account"]["rows"] >= 2  # the account, and this browser
    assert "house" not in classes


async def test_a_mail_is_entered_confirmed_by_its_owner_and_answered(app: Quart) -> None:
    owner, admin = await Owner.made(), await admin_browser(app)
    entry = {"sender": owner.email, "kind": "correction", "details": "My name.", "received_on": "2026-01-02"}

    made = await admin.call("POST", "/api/admin/requests", entry)

    assert made.status_code == 201
    path = f"/api/admin/requests/{(await made.get_json())['id']}"
    too_early = await admin.call("POST", f"{path}/answer", {"words": "It is done."})
    assert (await problem(too_early))["code"] == "not-proven"
    browser = await signed_in(app, owner)
    (request,) = (await got(browser, REQUESTS))["requests"]
    assert (request["state"], request["answer_by"]) == ("waiting_for_identity", "2026-02-02")
    assert (await browser.call("POST", f"{REQUESTS}/{request['id']}/confirm")).status_code == 200
    assert (await admin.call("POST", f"{path}/answer", {"words": "It is done."})).status_code == 204
    assert (await got(browser, f"{REQUESTS}/{request['id']}"))["outcome"] == "It is done."
    assert [one.template for one in await mails_to(owner.email)] == ["privacy_identity", "privacy_request"]
    steps = [(one["did"], one["manner"]) for one in (await got(admin, path))["steps"]]
    assert steps == [
        ("filed", "mail"),
        ("acknowledged", "house"),
        ("identity_asked", "mail"),
        ("identified", "account"),
        ("answered", "admin"),
    ]


async def test_confirming_needs_a_fresh_sign_in_and_denying_does_not(app: Quart) -> None:
    owner, admin = await Owner.made(), await admin_browser(app)
    entry = {"sender": "eve@example.com", "about": owner.email, "kind": "access", "received_on": "2026-01-02"}
    await admin.call("POST", "/api/admin/requests", entry)
    browser = await signed_in(app, owner)
    await owner.age_sessions(timedelta(minutes=31))
    (request,) = (await got(browser, REQUESTS))["requests"]

    refused = await browser.call("POST", f"{REQUESTS}/{request['id']}/confirm")

    assert (await problem(refused))["code"] == "sign-in-again"
    assert (await browser.call("POST", f"{REQUESTS}/{request['id']}/deny")).status_code == 204
    assert (await got(browser, "/api/exports"))["exports"] == []


@pytest.mark.parametrize("received_on", ["2999-01-01", "2026-02-30"])
async def test_a_mail_that_cannot_have_come_is_refused(app: Quart, received_on: str) -> None:
    admin = await admin_browser(app)
    entry = {"sender": "ada@example.com", "kind": "access", "received_on": received_on}

    refused = await admin.call("POST", "/api/admin/requests", entry)

    assert (await problem(refused))["errors"][0]["field"] in ("received_on", "received_at")


async def test_an_admin_extends_notes_and_refuses_with_a_basis(app: Quart) -> None:
    owner, admin = await Owner.made(), await admin_browser(app)
    browser = await signed_in(app, owner)
    request = await asked(browser, "objection", details="All of it.")
    path = f"/api/admin/requests/{request['id']}"

    assert (await admin.call("POST", f"{path}/extend", {"reason": "It is much."})).status_code == 204
    assert (await problem(await admin.call("POST", f"{path}/extend", {"reason": "It is."})))["status"] == 409
    assert (await admin.call("POST", f"{path}/note", {"words": "Asked the lawyer."})).status_code == 204
    refusal = {"words": "We have to keep the books.", "basis": "GDPR, article 17(3)(b)"}
    assert (await admin.call("POST", f"{path}/refuse", refusal)).status_code == 204

    mine = await got(browser, f"{REQUESTS}/{request['id']}")
    assert (mine["state"], mine["basis"], mine["extension_reason"]) == ("refused", refusal["basis"], "It is much.")
    words = (await mails_to(owner.email))[-1].facts["text"]
    assert "the data protection authority" in words
    assert refusal["basis"] in words
    closed = await got(admin, "/api/admin/requests?which=closed")
    assert request["id"] in {one["id"] for one in closed["requests"]}


async def test_that_an_admin_looked_is_in_the_persons_history(app: Quart) -> None:
    owner, admin = await Owner.made(), await admin_browser(app)
    request = await asked(await signed_in(app, owner), "correction")

    await got(admin, f"/api/admin/requests/{request['id']}")

    async with transaction() as session:
        seen = select(AuditEntry).where(AuditEntry.account_id == owner.id, AuditEntry.action == "request_seen")
        entry = (await session.scalars(seen)).one()
    assert entry.object == f"request:{request['id']}"
    assert entry.actor_id not in (None, owner.id)


async def test_the_list_is_by_due_date_and_pages(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.privacy.requests_desk.PAGE", 2)
    monkeypatch.setattr("web.admin_privacy.PAGE", 2)
    admin = await admin_browser(app)
    for day in ("03", "01", "02"):
        entry = {"sender": f"{uuid4()}@example.com", "kind": "access", "received_on": f"2020-01-{day}"}
        assert (await admin.call("POST", "/api/admin/requests", entry)).status_code == 201

    first = await got(admin, "/api/admin/requests")
    second = await got(admin, f"/api/admin/requests?after={first['next']}")

    dues = [one["gdpr_due"] for one in [*first["requests"], *second["requests"]]]
    assert len(first["requests"]) == 2
    assert dues[:3] == ["2020-02-01", "2020-02-02", "2020-02-03"]


async def test_a_hold_is_placed_and_lifted_and_a_restriction_ends_with_notice(app: Quart) -> None:
    owner, admin = await Owner.made(), await admin_browser(app)
    path = f"/api/admin/accounts/{owner.id}"

    placed = await admin.call("POST", f"{path}/holds", {"reason": "A court has asked."})

    hold = await placed.get_json()
    assert (placed.status_code, (await got(admin, f"{path}/holds"))["holds"][0]["id"]) == (201, hold["id"])
    assert (await admin.call("DELETE", f"/api/admin/holds/{hold['id']}")).status_code == 204
    assert (await admin.call("DELETE", f"/api/admin/holds/{hold['id']}")).status_code == 404
    nothing = await admin.call("POST", f"{path}/restriction/end", {"reason": "Settled."})
    assert (await problem(nothing))["code"] == "not-restricted"
    await asked(await signed_in(app, owner), "restriction")
    ends = await admin.call("POST", f"{path}/restriction/end", {"reason": "Settled."})
    at = datetime.fromisoformat((await ends.get_json())["ends_at"])
    assert timedelta(days=6, hours=23) < at - datetime.now(UTC) <= timedelta(days=7)


async def test_nobody_else_sees_a_request(app: Quart) -> None:
    request = await asked(await signed_in(app, await Owner.made()), "correction")
    other = await signed_in(app, await Owner.made())

    assert (await other.call("GET", f"{REQUESTS}/{request['id']}")).status_code == 404
    assert (await other.call("DELETE", f"{REQUESTS}/{request['id']}")).status_code == 404
    stranger = browser_of(app)
    await stranger.open()
    assert (await stranger.call("GET", REQUESTS)).status_code == 401
