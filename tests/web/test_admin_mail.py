"""Admins and mails: the dead letters and their second chance, announcements stopped and going on."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from quart import Quart
from sqlalchemy import select, update

from core.accounts.models import WebSession
from core.audit import Action, AuditEntry
from core.database import transaction
from core.jobs import Job
from core.mail.consents import choose
from core.mail.deliveries import send
from core.mail.models import Delivery, DeliveryState, Topic
from tests.core.mail.test_render import FACTS
from tests.web.test_admin import Desk, desk  # noqa: F401  # a fixture


async def make_dead(
    template: str = "receipt", *, state: str = DeliveryState.FAILED, account_id: UUID | None = None, **facts: object
) -> UUID:
    key = f"test:{uuid4()}"
    async with transaction() as session:
        await send(
            session,
            key=key,
            account_id=account_id,
            recipient=f"{uuid4().hex}@people.example",
            template=template,
            facts=FACTS[template] | facts,
        )
        dead = update(Delivery).where(Delivery.key == key).values(state=state, error="outcome-unknown")
        return (await session.scalars(dead.returning(Delivery.id))).one()


async def test_a_dead_letter_is_sent_again_once_and_it_is_noted(desk: Desk, account_id: UUID) -> None:  # noqa: F811  # the fixture by its name
    mail_id = await make_dead(account_id=account_id)
    listed = {one["id"]: one for one in (await desk.get("/mails"))["mails"]}[str(mail_id)]
    path = f"/api/admin/mails/{mail_id}/resend"

    again = [(await desk.browser.post(path, headers=desk.headers)).status_code for _ in range(2)]

    assert (listed["state"], listed["error"], listed["can_resend"]) == ("failed", "outcome-unknown", True)
    assert again == [204, 409]
    async with transaction() as session:
        mail = await session.get_one(Delivery, mail_id)
        jobs = (await session.scalars(select(Job).where(Job.key == f"mail:{mail_id}:1"))).all()
        noted = (await session.scalars(select(AuditEntry).where(AuditEntry.object == f"mail:{mail_id}"))).one()
    assert (mail.resends, len(jobs)) == (1, 1)
    assert (noted.action, noted.account_id) == (Action.MAIL_RESENT, account_id)
    assert noted.actor_id != account_id


async def test_a_code_that_is_gone_is_shown_and_not_sent_again(desk: Desk) -> None:  # noqa: F811  # the fixture by its name
    mail_id = await make_dead("sign_in_code", wiped=True)

    listed = {one["id"]: one for one in (await desk.get("/mails"))["mails"]}[str(mail_id)]
    refused = await desk.browser.post(f"/api/admin/mails/{mail_id}/resend", headers=desk.headers)
    shown = await (await desk.browser.get("/admin/mails", headers=desk.headers)).get_data(as_text=True)

    assert not listed["can_resend"]
    assert refused.status_code == 409
    assert f"/api/admin/mails/{mail_id}/resend" not in shown
    assert "It had a code, which is gone" in shown


@pytest.mark.parametrize("state", ["deferred", "bounced", "suppressed"])
async def test_mails_are_listed_by_state_and_counted(desk: Desk, state: str) -> None:  # noqa: F811  # the fixture by its name
    before = (await desk.get(f"/mails?state={state}"))["counts"][state]
    mail_id = await make_dead(state=state)

    page = await desk.get(f"/mails?state={state}")

    assert page["counts"][state] == before + 1
    assert page["mails"][0]["id"] == str(mail_id)
    assert {one["state"] for one in page["mails"]} == {state}


async def test_a_state_that_is_none_is_refused(desk: Desk) -> None:  # noqa: F811  # the fixture by its name
    assert (await desk.browser.get("/api/admin/mails?state=lost", headers=desk.headers)).status_code == 400


async def test_an_announcement_is_begun_once_stopped_and_goes_on(desk: Desk, account_id: UUID) -> None:  # noqa: F811  # the fixture by its name
    async with transaction() as session:
        await choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")
    headers = desk.headers | {"Idempotency-Key": uuid4().hex}
    news = {"title": f"News {uuid4()}", "text": "It is quite new."}

    begun = [
        await (await desk.browser.post("/api/admin/announcements", headers=headers, json=news)).get_json()
        for _ in range(2)
    ]
    path = f"/api/admin/announcements/{begun[0]['id']}"
    statuses = [
        (await desk.browser.post(f"{path}/{verb}", headers=desk.headers)).status_code
        for verb in ("go-on", "stop", "stop", "go-on")
    ]
    listed = [one for one in (await desk.get("/announcements"))["announcements"] if one["title"] == news["title"]]
    shown = await (await desk.browser.get("/admin/announcements", headers=desk.headers)).get_data(as_text=True)

    assert begun[0] == begun[1]
    assert statuses == [409, 200, 409, 200]
    assert [one["state"] for one in listed] == ["running"]
    assert news["title"] in shown


async def test_who_writes_to_people_has_proven_of_late_who_they_are(desk: Desk) -> None:  # noqa: F811  # the fixture by its name
    mail_id, news = await make_dead(), f"/api/admin/announcements/{uuid4()}"
    async with transaction() as session:
        mine = update(WebSession).where(WebSession.account_id == desk.id)
        await session.execute(mine.values(proven_at=datetime.now(UTC) - timedelta(minutes=31)))
    body = {"title": "Some news", "text": "It is quite new."}

    refused = [
        await desk.browser.post(f"/api/admin/mails/{mail_id}/resend", headers=desk.headers),
        await desk.browser.post("/api/admin/announcements", headers=desk.headers, json=body),
        await desk.browser.post(f"{news}/go-on", headers=desk.headers),
    ]
    stopped = await desk.browser.post(f"{news}/stop", headers=desk.headers)
    page = await desk.browser.get("/admin/announcements", headers=desk.headers)

    assert [(await one.get_json())["code"] for one in refused] == ["sign-in-again"] * 3
    assert stopped.status_code == 404
    assert page.headers["Location"] == "/sign-in?again&next=/admin/announcements"


@pytest.mark.parametrize(
    "title", ["News\r\nBcc: all@example.com", "News\u2028Bcc: a", "=?utf-8?q?=0D=0A?=", "\u202enews", "N"]
)
async def test_a_title_is_a_line_of_plain_text(desk: Desk, app: Quart, title: str) -> None:  # noqa: F811  # the fixture by its name
    body = {"title": title, "text": "It is quite new."}

    refused = await desk.browser.post("/api/admin/announcements", headers=desk.headers, json=body)

    assert refused.status_code == 400


async def test_mails_whose_facts_are_forgotten_are_listed_and_canaries_are_not(desk: Desk) -> None:  # noqa: F811  # the fixture by its name
    old = {template: await make_dead(template, state=DeliveryState.SUPPRESSED) for template in FACTS}
    canary, mark = uuid4(), f"canary:{uuid4()}"
    async with transaction() as session:
        await session.execute(update(Delivery).where(Delivery.id.in_(old.values())).values(facts={"wiped": True}))
        row = {"id": canary, "key": mark, "recipient": "", "template": "canary", "facts": {}}
        session.add(Delivery(**row, state=DeliveryState.SUPPRESSED))

    listed = await desk.get("/mails?state=suppressed")

    ids = {one["id"] for one in listed["mails"]}
    assert {str(one) for one in list(old.values())[-20:]} <= ids
    assert str(canary) not in ids
