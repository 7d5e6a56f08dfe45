from uuid import UUID, uuid4

import pytest
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.errors import NotFound
from core.jobs import Job, JobState
from core.mail import deliveries
from core.mail.consents import choose
from core.mail.deliveries import NotToResend, OutcomeUnknown, send
from core.mail.models import Delivery, DeliveryState, Topic
from core.queue import TaskName
from tests.makers import make_account


async def make_mail(
    session: AsyncSession, *, template: str = "verification", facts: dict[str, str] | None = None
) -> Delivery:
    key = f"test:{uuid4()}"
    facts = facts or {"code": "012345", "email": "ada@example.com"}
    await send(session, key=key, account_id=None, recipient="ada@example.com", template=template, facts=facts)
    return (await session.scalars(select(Delivery).where(Delivery.key == key))).one()


async def job_of(session: AsyncSession, mail_id: UUID) -> Job:
    return (await session.scalars(select(Job).where(Job.key == f"mail:{mail_id}"))).one()


async def test_a_mail_is_written_once_for_each_key(session: AsyncSession) -> None:
    key = f"test:{uuid4()}"

    written = [
        await send(session, key=key, account_id=None, recipient="ada@example.com", template="receipt", facts={})
        for _ in range(3)
    ]

    assert written == [True, False, False]
    assert len((await session.scalars(select(Delivery).where(Delivery.key == key))).all()) == 1


async def test_its_job_carries_the_id_and_nothing_else(session: AsyncSession) -> None:
    mail = await make_mail(session)

    job = await job_of(session, mail.id)

    assert job.task == TaskName.SEND_MAIL
    assert job.payload == {"delivery_id": str(mail.id)}


async def test_what_stops_a_removal_is_wiped_once_the_mail_is_sent(session: AsyncSession) -> None:
    await send(
        session, key="p", account_id=None, recipient="a@example.com", template="lost_factor_asked", facts={"proof": "1"}
    )
    mail = (await session.scalars(select(Delivery).where(Delivery.key == "p"))).one()
    await deliveries.mark_sent(session, mail.id)
    await session.refresh(mail)

    assert mail.facts == {"wiped": True}


async def test_the_code_is_wiped_once_the_mail_is_sent(session: AsyncSession) -> None:
    mail = await make_mail(session)

    await deliveries.mark_sending(session, mail.id)
    await deliveries.mark_sent(session, mail.id)

    await session.refresh(mail)
    assert mail.state == DeliveryState.SENT
    assert mail.sent_at is not None
    assert mail.facts == {"email": "ada@example.com", "wiped": True}
    assert await deliveries.get_outgoing(session, mail.id) is None


@pytest.mark.parametrize("template", ["receipt", "verification"])
async def test_a_mail_that_may_have_been_accepted_is_not_sent_again(session: AsyncSession, template: str) -> None:
    mail = await make_mail(session, template=template)
    await deliveries.mark_sending(session, mail.id)
    await session.refresh(mail)

    with pytest.raises(OutcomeUnknown):
        await deliveries.get_outgoing(session, mail.id)


async def test_of_two_attempts_one_hands_it_over(session: AsyncSession) -> None:
    """The first lost its claim while it was slow: both have read the mail as waiting."""
    mail = await make_mail(session)
    await deliveries.mark_sending(session, mail.id)

    with pytest.raises(OutcomeUnknown):
        await deliveries.mark_sending(session, mail.id)


async def test_a_mail_that_was_accepted_is_sent_though_its_job_was_given_up(session: AsyncSession) -> None:
    mail = await make_mail(session, template="receipt")
    await deliveries.mark_sending(session, mail.id)
    await jobs.stop(session, await job_of(session, mail.id))
    await session.refresh(mail)
    given_up = (mail.state, mail.error)

    await deliveries.mark_sent(session, mail.id)

    await session.refresh(mail)
    assert given_up == (DeliveryState.FAILED, "outcome-unknown")
    assert (mail.state, mail.error) == (DeliveryState.SENT, None)


async def test_a_mail_whose_job_is_given_up_has_failed_and_says_why(session: AsyncSession) -> None:
    mail = await make_mail(session)
    job = await job_of(session, mail.id)

    await jobs.stop(session, job)

    await session.refresh(mail)
    assert (mail.state, mail.error) == (DeliveryState.FAILED, JobState.CANCELLED)
    assert "code" not in mail.facts


async def test_a_mail_that_was_given_up_is_tried_anew(session: AsyncSession) -> None:
    mail = await make_mail(session, template="already_registered", facts={"email": "ada@example.com"})
    for number in (1, 2):
        await jobs.stop(session, (await session.scalars(_waiting_job(mail.id))).one())
        await session.refresh(mail)

        await deliveries.resend(session, mail.id)

        assert (mail.state, mail.error, mail.resends) == (DeliveryState.QUEUED, None, number)
        assert await deliveries.get_outgoing(session, mail.id) is not None


def _waiting_job(mail_id: UUID) -> Select[Job]:
    return select(Job).where(Job.key.startswith(f"mail:{mail_id}"), Job.state == JobState.QUEUED)


async def test_a_code_that_is_gone_is_not_sent_again_nor_what_is_still_under_way(session: AsyncSession) -> None:
    waits, gone = await make_mail(session, template="receipt", facts={"name": "Ada"}), await make_mail(session)
    await jobs.stop(session, await job_of(session, gone.id))
    await session.refresh(gone)

    for mail in (waits, gone):
        with pytest.raises(NotToResend):
            await deliveries.resend(session, mail.id)
    with pytest.raises(NotFound):
        await deliveries.resend(session, uuid4())


async def make_news(session: AsyncSession, account_id: UUID) -> Delivery:
    key, recipient = f"test:{uuid4()}", f"{account_id}@people.example"
    facts = {"title": "News", "text": "It is new."}
    await send(session, key=key, account_id=account_id, recipient=recipient, template="announcement", facts=facts)
    return (await session.scalars(select(Delivery).where(Delivery.key == key))).one()


@pytest.mark.parametrize("chosen", [[], [True, False]])
async def test_news_go_to_nobody_who_does_not_want_them(session: AsyncSession, chosen: list[bool]) -> None:
    account_id = await make_account(session)
    for wanted in chosen:
        await choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=wanted, via="account")
    mail = await make_news(session, account_id)

    assert await deliveries.get_outgoing(session, mail.id) is None

    await session.refresh(mail)
    assert (mail.state, mail.error) == (DeliveryState.SUPPRESSED, "not-wanted")


async def test_news_go_to_no_address_that_bounced_last(session: AsyncSession) -> None:
    account_id = await make_account(session)
    await choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")
    first, second = [await make_news(session, account_id) for _ in range(2)]
    wanted = await deliveries.get_outgoing(session, first.id)
    await deliveries.mark_bounced(session, first.id, error="mail-refused 550")

    assert wanted is not None
    assert await deliveries.get_outgoing(session, second.id) is None

    await session.refresh(second)
    assert (second.state, second.error) == (DeliveryState.SUPPRESSED, "address-bounced")
