"""Notices: the inbox as API, page and push; which mails one wants, and the one press that ends a topic."""

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select, update

from core.database import transaction
from core.mail import consents
from core.mail.consents import WAY_OUT, read_token, unsubscribe_token
from core.mail.deliveries import Outgoing, send
from core.mail.models import Delivery, Topic
from core.mail.render import render
from core.notices import inbox
from tests.core.billing.kit import sign_in
from tests.core.mail.test_render import FACTS, way_out
from tests.web.test_live import open_socket
from web import endings, notices


async def mail(account_id: UUID, template: str = "receipt", **facts: str) -> None:
    async with transaction() as session:
        await send(
            session,
            key=f"test:{uuid4()}",
            account_id=account_id,
            recipient="ada@example.com",
            template=template,
            facts=FACTS[template] | facts,
        )


class Person:
    def __init__(self, client: Client, headers: dict[str, str]) -> None:
        self.client, self.headers = client, headers

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path, headers=self.headers)
        assert answer.status_code == 200, await answer.get_data(as_text=True)
        return await answer.get_json() if path.startswith("/api") else await answer.get_data(as_text=True)

    async def do(self, method: str, path: str) -> int:
        return (await self.client.open(path, method=method, headers=self.headers, json=None)).status_code


@pytest.fixture
async def person(app: Quart, account_id: UUID) -> Person:
    return Person(app.test_client(use_cookies=False), await sign_in(account_id))


def test_every_kind_has_words() -> None:
    assert set(notices.WORDS) == set(inbox.KINDS)


@pytest.mark.parametrize("kind", sorted(inbox.KINDS))
async def test_every_kind_is_shown(person: Person, account_id: UUID, kind: str) -> None:
    await mail(account_id, kind)

    (one,) = (await person.get("/api/notices"))["notices"]
    shown = await person.get("/notices")

    assert (one["kind"], one["read"]) == (kind, False)
    assert "{" not in one["title"] + one["text"]
    assert one["title"] in shown


async def test_what_is_told_is_counted_read_and_shown_as_text(person: Person, account_id: UUID) -> None:
    for title in ("One", "Two", "<script>alert(3)</script>"):
        await mail(account_id, "announcement", title=title)
    first = await person.get("/api/notices")

    statuses = [await person.do("POST", f"/api/notices/{first['notices'][0]['id']}/read") for _ in range(2)]
    statuses.append(await person.do("POST", f"/api/notices/{uuid4()}/read"))
    second, shown = await person.get("/api/notices"), await person.get("/notices")
    statuses.append(await person.do("POST", "/api/notices/read"))
    third = await person.get("/api/notices")

    assert statuses == [204, 204, 404, 204]
    assert [one["unread"] for one in (first, second, third)] == [3, 2, 0]
    assert [one["read"] for one in second["notices"]] == [True, False, False]
    assert "<span>2</span>" in shown
    assert "<script>alert(3)" not in shown
    assert "&lt;script&gt;alert(3)" in shown


async def test_a_page_that_is_none_is_refused(person: Person) -> None:
    assert await person.do("GET", "/api/notices?after=1") == 400


async def test_a_socket_is_told_as_soon_as_it_is_committed_and_as_it_is_read(
    app: Quart, person: Person, account_id: UUID
) -> None:
    socket = await open_socket(account_id)
    socket.greeted.set()

    async def told(count: int) -> list[int]:
        deadline = time.monotonic() + 10
        while len(socket.outbox) < count:
            assert time.monotonic() < deadline, list(socket.outbox)
            socket.work.clear()
            async with asyncio.timeout(10):
                await socket.work.wait()
        return [orjson.loads(frame)["data"]["unread"] for frame in socket.outbox]

    with endings.held(account_id, socket.news.set):
        teller = asyncio.create_task(socket._tell_news())
        socket.news.set()
        await told(1)
        await mail(account_id)
        await told(2)
        await mail(account_id)
        await told(3)
        await person.do("POST", "/api/notices/read")
        counts = await told(4)
        teller.cancel()

    assert counts == [0, 1, 2, 0]


async def test_ones_mails_and_where_they_are(person: Person, account_id: UUID) -> None:
    await mail(account_id)

    (one,) = (await person.get("/api/account/mails"))["mails"]

    assert (one["subject"], one["state"]) == ("Your receipt from Clofy Cloud", "queued")
    assert "waits to be sent" in await person.get("/notices")


async def test_topics_are_turned_on_and_off(person: Person) -> None:
    async def wanted() -> dict[str, bool]:
        return {one["topic"]: one["wanted"] for one in (await person.get("/api/account/mail-topics"))["topics"]}

    at_first = await wanted()
    statuses = [
        await person.do("PUT", "/api/account/mail-topics/announcements"),
        await person.do("DELETE", "/api/account/mail-topics/low_balance"),
        await person.do("PUT", "/api/account/mail-topics/receipts"),
    ]

    assert at_first == {"announcements": False, "low_balance": True}
    assert statuses == [204, 204, 404]
    assert await wanted() == {"announcements": True, "low_balance": False}


async def wants(account_id: UUID) -> bool:
    async with transaction() as session:
        return (await consents.choices(session, account_id=account_id))[Topic.ANNOUNCEMENTS]


async def test_one_press_in_a_mail_program_ends_a_topic(app: Quart, account_id: UUID) -> None:
    """As RFC 8058 has it: from the headers alone, without cookies, and only by POST."""
    async with transaction() as session:
        await consents.choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")
    facts = FACTS["announcement"] | way_out(account_id, "announcement")
    letter = render(Outgoing(uuid4(), "ada@example.com", "announcement", facts, account_id))
    path = "/unsubscribe/" + letter["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    stranger = app.test_client(use_cookies=False)
    looked = await stranger.get(path)
    after_looking = await wants(account_id)

    pressed = [
        await stranger.post(path, form={"List-Unsubscribe": "One-Click"}, headers={"Sec-Fetch-Site": "cross-site"})
        for _ in range(2)
    ]

    assert (looked.status_code, [one.status_code for one in pressed]) == (200, [200, 200])
    assert after_looking
    assert not await wants(account_id)


async def test_a_link_is_of_one_topic_of_one_account(app: Quart, account_id: UUID) -> None:
    token = unsubscribe_token(account_id, Topic.ANNOUNCEMENTS)
    account, topic, signature = token.split(".")
    forged = [
        f"{uuid4().hex}.{topic}.{signature}",
        f"{account}.low_balance.{signature}",
        f"{account}.{topic}.{'A' * 43}",
        f"{account}.{topic}",
        f"{account}.{topic}.é",
        "x",
    ]

    answers = [(await app.test_client().post(f"/unsubscribe/{one}")).status_code for one in forged]

    async with transaction() as session:
        assert await read_token(session, token) == (account_id, Topic.ANNOUNCEMENTS)
    assert answers == [404] * len(forged)


async def test_a_link_outlives_its_key(app: Quart, account_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys change, and are not accepted for as long as mails lie about."""
    await mail(account_id, "announcement")
    async with transaction() as session:
        facts = await session.scalar(select(Delivery.facts).where(Delivery.account_id == account_id))
    assert facts is not None
    never_sent = unsubscribe_token(account_id, Topic.LOW_BALANCE)
    monkeypatch.setattr(consents, "is_signed", lambda *_: False)

    answers = [
        (await app.test_client().post(f"/unsubscribe/{token}")).status_code for token in (facts[WAY_OUT], never_sent)
    ]

    assert answers == [200, 404]


async def test_a_link_outlives_its_account(app: Quart, house: object) -> None:
    token = unsubscribe_token(uuid4(), Topic.LOW_BALANCE)

    assert (await app.test_client().post(f"/unsubscribe/{token}")).status_code == 200


async def test_who_waits_for_a_code_is_told_when_mails_go_out_late(app: Quart, account_id: UUID) -> None:
    """Of all mails, not of theirs: whether there is an account is nobody's business."""
    browser = app.test_client(use_cookies=False)
    path = "/verify?email=nobody@people.example"
    async with transaction() as session:  # what other tests have left
        await session.execute(update(Delivery).values(created_at=Delivery.created_at - timedelta(days=2)))
    await mail(account_id)
    at_first = await (await browser.get(path)).get_data(as_text=True)

    async with transaction() as session:
        mine = update(Delivery).where(Delivery.account_id == account_id)
        await session.execute(mine.values(created_at=func.now() - timedelta(minutes=2)))
    later = await (await browser.get(path)).get_data(as_text=True)

    assert "Mails go out late" not in at_first
    assert "Mails go out late" in later
