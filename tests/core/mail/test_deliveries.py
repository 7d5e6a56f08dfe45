from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.jobs import Job, JobState
from core.mail import deliveries
from core.mail.deliveries import OutcomeUnknown, send
from core.mail.models import Delivery, DeliveryState
from core.queue import TaskName


async def make_mail(session: AsyncSession, *, template: str = "verification", key: str | None = None) -> Delivery:
    key = key or f"test:{uuid4()}"
    facts = {"code": "012345", "email": "ada@example.com"}
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


async def test_the_code_is_wiped_once_the_mail_is_sent(session: AsyncSession) -> None:
    mail = await make_mail(session)

    await deliveries.mark_sending(session, mail.id)
    await deliveries.mark_sent(session, mail.id)

    await session.refresh(mail)
    assert mail.state == DeliveryState.SENT
    assert mail.sent_at is not None
    assert mail.facts == {"email": "ada@example.com"}
    assert await deliveries.get_outgoing(session, mail.id) is None


async def test_a_mail_that_may_have_been_accepted_is_not_sent_again(session: AsyncSession) -> None:
    receipt = await make_mail(session, template="receipt")
    await deliveries.mark_sending(session, receipt.id)
    await session.refresh(receipt)

    with pytest.raises(OutcomeUnknown):
        await deliveries.get_outgoing(session, receipt.id)


async def test_a_code_for_which_somebody_waits_is(session: AsyncSession) -> None:
    mail = await make_mail(session)
    await deliveries.mark_sending(session, mail.id)
    await session.refresh(mail)

    assert await deliveries.get_outgoing(session, mail.id) is not None


async def test_a_mail_whose_job_is_given_up_has_failed_and_says_why(session: AsyncSession) -> None:
    mail = await make_mail(session)
    job = await job_of(session, mail.id)

    await jobs.stop(session, job)

    await session.refresh(mail)
    assert (mail.state, mail.error) == (DeliveryState.FAILED, JobState.CANCELLED)
    assert "code" not in mail.facts
