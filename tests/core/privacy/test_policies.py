"""Versions of our documents: figures from code, published once, told to all, answered by each."""

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account
from core.database import transaction
from core.errors import NotFound
from core.mail.models import Delivery
from core.notices.models import Notice
from core.privacy import engagements, figures, policies, policy_letters
from core.privacy.cookies import COOKIES
from core.privacy.engagements import NotAgreed, PolicyChanged
from core.privacy.policies import NothingChanged, TooSoon
from core.privacy.policy_models import Deed, Document, PolicyEngagement, PolicyVersion, Weight
from core.privacy.registry import KINDS, DataClass
from tests.makers import make_account

TEXTS = Path(figures.__file__).parent / "texts"
CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
NUMBER = re.compile(
    r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|thirty|forty|hundred)\b", re.IGNORECASE
)
NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("document", Document)
def test_no_figure_of_a_text_is_its_own(document: Document) -> None:
    own = CODE.sub("", (TEXTS / f"{document}.md").read_text())

    assert NUMBER.findall(own) == []


def test_the_figures_are_those_of_the_registry(house: object, monkeypatch: pytest.MonkeyPatch) -> None:
    before = figures.text_of.__wrapped__(Document.PRIVACY)
    longer = replace(KINDS[DataClass.TRANSCRIPT], kept=timedelta(days=31))
    monkeypatch.setitem(KINDS, DataClass.TRANSCRIPT, longer)
    after = figures.text_of.__wrapped__(Document.PRIVACY)

    assert "deleted **30 days** after they were written" in before
    assert "deleted **31 days** after they were written" in after


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(days=1), "1 day"),
        (timedelta(days=30), "30 days"),
        (timedelta(days=365), "365 days"),
        (timedelta(days=366), "366 days"),
        (timedelta(days=730), "24 months"),
        (timedelta(days=731), "24 months"),
        (timedelta(days=732), "732 days"),
        (timedelta(days=3650), "10 years"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(hours=12), "12 hours"),
    ],
)
def test_times_are_written_as_people_say_them(time: timedelta, words: str) -> None:
    assert figures.span(time) == words


def test_every_document_names_what_the_policy_must(house: object) -> None:
    privacy = figures.text_of(Document.PRIVACY)

    for must in ("30 days", "365 days", "24 months", "45 days", "10 business days", "a month", "under 13", "East US"):
        assert must in privacy, must
    for cookie in COOKIES:
        assert f"| `{cookie.name}` |" in figures.text_of(Document.COOKIES)


@pytest.fixture
async def texts(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> dict[Document, str]:
    """What the code would publish, to be changed by a test; what other tests' accounts are told of is put off."""
    said = {one: figures.text_of(one) for one in Document}
    monkeypatch.setattr(policies, "text_of", said.__getitem__)
    await session.execute(update(PolicyVersion).values(all_told_at=func.now()))
    return said


async def publish(session: AsyncSession, weight: Weight = Weight.MATERIAL, **given: datetime) -> PolicyVersion:
    facts = {"effective_at": NOW + timedelta(days=60), "now": NOW} | given
    return await policies.publish(session, Document.TERMS, weight=weight, summary="Pictures too.", **facts)


async def test_a_version_is_numbered_and_hashed_and_an_unchanged_text_is_none(
    session: AsyncSession, texts: dict[Document, str]
) -> None:
    with pytest.raises(NothingChanged):
        await publish(session)
    texts[Document.TERMS] += "\nMore.\n"

    assert await policies.unpublished(session) == [Document.TERMS]
    made = await publish(session)

    assert (made.number, made.weight, made.text) == (2, Weight.MATERIAL, texts[Document.TERMS])
    assert made.hash == hashlib.sha256(texts[Document.TERMS].encode()).digest()
    assert await policies.unpublished(session) == []
    assert await policies.text_of_version(session, Document.TERMS, 1) == figures.text_of(Document.TERMS)


async def test_a_material_change_waits_for_all_to_be_told_and_a_month(
    session: AsyncSession, texts: dict[Document, str]
) -> None:
    texts[Document.TERMS] += "\nMore.\n"
    await make_account(session)
    soonest = await policies.earliest(session, now=NOW)

    with pytest.raises(TooSoon):
        await publish(session, effective_at=soonest - timedelta(seconds=1))
    with pytest.raises(TooSoon):
        await publish(session, Weight.MINOR, effective_at=NOW - timedelta(seconds=1))
    assert NOW + timedelta(days=30) < soonest < NOW + timedelta(days=31)
    assert (await publish(session, effective_at=soonest)).number == 2


async def test_no_version_takes_effect_before_an_earlier_one(session: AsyncSession, texts: dict[Document, str]) -> None:
    texts[Document.TERMS] += "\nMore.\n"
    await publish(session)
    texts[Document.TERMS] += "\nAnd more.\n"

    with pytest.raises(TooSoon):
        await publish(session, Weight.MINOR, effective_at=NOW + timedelta(days=59))


def test_a_difference_has_the_lines_that_changed_and_no_other() -> None:
    parts = policies.difference("a\nb\nc", "a\nB\nc\nd")

    assert [(list(one.base), list(one.mine)) for one in parts if one.side != "same"] == [(["b"], ["B"]), ([], ["d"])]


async def make_readers(session: AsyncSession, version: PolicyVersion, count: int) -> list[UUID]:
    """Accounts behind all that there are, so that only they are told."""
    last = await session.scalar(select(Account.id).order_by(Account.id.desc()).limit(1))
    version.reached = last
    return [await make_account(session) for _ in range(count)]


async def told_of(session: AsyncSession, number: int) -> list[UUID]:
    mine = (PolicyEngagement.document == "terms", PolicyEngagement.number == number, PolicyEngagement.what == Deed.TOLD)
    return list(await session.scalars(select(PolicyEngagement.account_id).where(*mine).order_by(PolicyEngagement.id)))


async def test_all_are_told_once_in_batches_that_go_on_where_they_were(
    session: AsyncSession, texts: dict[Document, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_letters, "BATCH", 2)
    texts[Document.TERMS] += "\nMore.\n"
    version = await publish(session)
    readers = await make_readers(session, version, 5)
    shut = await make_account(session)
    await session.execute(update(Account).where(Account.id == shut).values(disabled_at=func.now()))

    numbers = [await policy_letters.tell(session, now=NOW) for _ in range(4)]

    assert numbers == [2, 2, 1, None]
    assert await told_of(session, 2) == readers
    mails = list(await session.scalars(select(Delivery).where(Delivery.account_id.in_([*readers, shut]))))
    assert len(mails) == 5
    assert {mail.template for mail in mails} == {"policy_change"}
    assert mails[0].facts["effective"] == "1 April 2027"
    assert (version.told, version.all_told_at) == (5, NOW)


async def test_a_batch_that_is_done_again_tells_nobody_twice(session: AsyncSession, texts: dict[Document, str]) -> None:
    texts[Document.TERMS] += "\nMore.\n"
    version = await publish(session)
    readers = await make_readers(session, version, 2)
    reached = version.reached

    await policy_letters.tell(session, now=NOW)
    version.reached, version.all_told_at = reached, None
    await policy_letters.tell(session, now=NOW)

    assert await told_of(session, 2) == readers
    assert await session.scalar(select(func.count()).where(Delivery.account_id.in_(readers))) == 2


async def test_a_minor_change_is_a_notice_and_no_mail(session: AsyncSession, texts: dict[Document, str]) -> None:
    texts[Document.TERMS] += "\nMore.\n"
    [reader] = await make_readers(session, await publish(session, Weight.MINOR), 1)

    await policy_letters.tell(session, now=NOW)

    assert await session.scalar(select(Delivery).where(Delivery.account_id == reader)) is None
    notice = (await session.scalars(select(Notice).where(Notice.account_id == reader))).one()
    assert (notice.kind, notice.facts["weight"]) == ("policy_change", "minor")


@pytest.fixture
async def changed(house: object) -> AsyncIterator[datetime]:
    """A second version of the terms, committed, that matters and takes effect then; gone after the test."""
    effective_at = datetime.now(UTC) + timedelta(days=31)
    async with transaction() as session:
        words = figures.text_of(Document.TERMS) + "\nMore.\n"
        session.add(
            PolicyVersion(
                document=Document.TERMS,
                number=2,
                weight=Weight.MATERIAL,
                summary="More.",
                text=words,
                hash=policies.hash_of(words),
                effective_at=effective_at,
                published_at=datetime.now(UTC),
                all_told_at=datetime.now(UTC),
            )
        )
    policies.forget()
    yield effective_at
    async with transaction() as session:
        await session.execute(delete(PolicyEngagement).where(PolicyEngagement.number == 2))
        await session.execute(delete(PolicyVersion).where(PolicyVersion.number == 2))
    policies.forget()


async def answer(account_id: UUID, *, accepted: bool, now: datetime) -> None:
    async with transaction() as session:
        await engagements.answer(
            session, account_id=account_id, document=Document.TERMS, number=2, accepted=accepted, now=now
        )


async def test_who_has_not_agreed_is_stopped_from_the_day_on_and_who_agrees_is_not(
    changed: datetime, account_id: UUID
) -> None:
    before, since = changed - timedelta(microseconds=1), changed

    await engagements.check_agreed(account_id=account_id, now=before)
    [question] = await engagements.questions(account_id=account_id, now=before)
    assert (question.version.number, question.due, question.declined) == (2, False, False)
    with pytest.raises(NotAgreed):
        await engagements.check_agreed(account_id=account_id, now=since)

    await answer(account_id, accepted=False, now=before)
    [question] = await engagements.questions(account_id=account_id, now=since)
    assert (question.due, question.declined) == (True, True)
    with pytest.raises(NotAgreed):
        await engagements.check_agreed(account_id=account_id, now=since)

    await answer(account_id, accepted=True, now=since)
    assert await engagements.questions(account_id=account_id, now=since) == []
    await engagements.check_agreed(account_id=account_id, now=since)


async def test_who_registers_agrees_to_what_was_shown_and_to_nothing_else(changed: datetime, account_id: UUID) -> None:
    now = changed - timedelta(days=1)
    shown = await engagements.check_shown("privacy:1 terms:1", now=now)
    with pytest.raises(PolicyChanged):
        await engagements.check_shown("privacy:1 terms:1", now=changed)
    assert await engagements.check_shown(None, now=changed) == "privacy:1 terms:2"

    async with transaction() as session:
        await engagements.registered(session, account_id=account_id, agreed=shown, now=now)
        rows = await engagements.of_account(session, account_id=account_id)

    assert {(one.document, one.number, one.what) for one in rows} == {
        (document, 1, what) for document in ("privacy", "terms") for what in ("shown", "accepted")
    }
    with pytest.raises(NotAgreed):
        await engagements.check_agreed(account_id=account_id, now=changed)


async def test_what_was_shown_is_kept_once_and_each_answer_every_time(session: AsyncSession, account_id: UUID) -> None:
    facts = {"account_id": account_id, "document": Document.TERMS, "number": 1, "via": "page", "now": NOW}
    for deed in (Deed.SHOWN, Deed.SHOWN, Deed.DECLINED, Deed.DECLINED):
        await engagements.note(session, deed, **facts)  # type: ignore[arg-type]  # facts of several types

    rows = await engagements.of_account(session, account_id=account_id)

    assert [one.what for one in rows] == ["declined", "declined", "shown"]


async def test_there_is_no_answer_to_a_version_that_there_is_not(session: AsyncSession) -> None:
    with pytest.raises(NotFound):
        await engagements.answer(
            session, account_id=uuid4(), document=Document.TERMS, number=99, accepted=True, now=NOW
        )
