"""Where the mail is, told to the browser that asked for it; and that neither answer nor rows tell who is known."""

from uuid import uuid4

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, AccountCode
from core.accounts.waiting import WORDS, MailState
from core.audit import AuditEntry
from core.mail.models import Delivery, DeliveryState
from tests.web.browser import Browser, live_codes, mailed


@pytest.fixture
def email() -> str:
    return f"ada-{uuid4().hex[:12]}@example.com"


@pytest.fixture
async def known(client: Client, session: AsyncSession, email: str) -> str:
    """An address with an account."""
    owner = Browser(client)
    await owner.register(email)
    await owner.verify(email, (await live_codes(session, email))[-1])
    return email


@pytest.fixture
def stranger(client: Client) -> Browser:
    assert isinstance(client.app, Quart)
    return Browser(client.app.test_client())


async def state(browser: Browser) -> str:
    told: str = (await (await browser.call("GET", "/api/mail-state")).get_json())["state"]
    return told


async def rows(session: AsyncSession) -> list[int]:
    """How many there are of what a registration leaves behind."""
    kept = (AccountCode, AuditEntry, Delivery)
    return [await session.scalar(select(func.count()).select_from(table)) or 0 for table in kept]


@pytest.mark.parametrize("seen", list(DeliveryState))
async def test_the_browser_that_registered_is_told_where_its_mail_is(
    stranger: Browser, session: AsyncSession, email: str, seen: DeliveryState
) -> None:
    await stranger.register(email)
    await session.execute(update(Delivery).where(Delivery.recipient == email).values(state=seen))
    await session.commit()

    told = await (await stranger.call("GET", "/api/mail-state")).get_json()
    page = await (await stranger.client.get(f"/verify?email={email}")).get_data(as_text=True)

    expected = {"sent": "accepted", "bounced": "refused", "suppressed": "failed"}.get(seen, seen)
    assert told == {"state": expected, "words": WORDS[MailState(expected)]}
    assert f'data-mail-state="{expected}"' in page
    assert WORDS[MailState(expected)] in page


async def test_who_asked_for_no_mail_is_told_of_none(stranger: Browser, session: AsyncSession, known: str) -> None:
    answer = await stranger.call("GET", "/api/mail-state")
    page = await (await stranger.client.get(f"/verify?email={known}")).get_data(as_text=True)

    assert answer.status_code == 404
    assert "data-mail-state" not in page


async def test_registering_leaves_as_much_for_a_known_address_as_for_an_unknown_one(
    stranger: Browser, session: AsyncSession, known: str
) -> None:
    before = await rows(session)
    await stranger.register(f"x{known}")
    between = await rows(session)
    await stranger.register(known, name="Mallory")
    after = await rows(session)

    grown = [[now - then for now, then in zip(*two, strict=True)] for two in ((between, before), (after, between))]
    names = await session.scalars(
        select(AccountCode.name).join(Account, Account.id == AccountCode.account_id).where(Account.email_key == known)
    )
    assert grown == [[1, 1, 1]] * 2
    assert "Mallory" not in names.all()


@pytest.mark.parametrize("again", ["register", "resend"])
async def test_a_known_address_gets_as_many_mails_and_states_as_an_unknown_one(
    stranger: Browser, session: AsyncSession, known: str, again: str
) -> None:
    states: list[list[str]] = []
    answers = set()
    for address in (known, f"x{known}"):
        states.append([])
        await stranger.register(address)
        for _ in range(4):
            states[-1].append(await state(stranger))
            if again == "register":
                answer = await stranger.register(address)
            else:
                answer = await stranger.call("POST", "/api/accounts/verify/resend", {"email": address})
            answers.add((answer.status_code, await answer.get_data()))

    assert states[0] == states[1] == ["queued", "queued", "queued", "withheld"]
    assert len(answers) == 1
    assert [mail.template for mail in await mailed(session, known)] == ["verification"] + ["already_registered"] * 3
    assert [mail.template for mail in await mailed(session, f"x{known}")] == ["verification"] * 3


async def test_who_registered_nothing_gets_the_same_word_for_every_address(
    stranger: Browser, session: AsyncSession, known: str
) -> None:
    for address in (known, f"x{known}"):
        await stranger.call("POST", "/api/accounts/verify/resend", {"email": address})

        assert await state(stranger) == "withheld"
