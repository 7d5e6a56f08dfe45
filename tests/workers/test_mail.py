from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core.database import transaction
from core.jobs import Job, JobState
from core.mail import deliveries, smtp
from core.mail.deliveries import resend, send
from core.mail.models import Delivery, DeliveryState
from tests.core.mail.server import MailServer, serve
from tests.house import House
from tests.workers.here import Here

if TYPE_CHECKING:
    from workers.process import Process

RECEIPT = {
    "name": "Ada",
    "shown_number": "CC-000123",
    "bundle_name": "Starter",
    "credits": "500",
    "amount": "$5.00",
    "purchase_id": "1",
    "paid_on": "3 May 2026",
}
CODE = {"code": "012345", "email": "ada@example.com"}


@pytest.fixture
async def mail_server(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailServer]:
    async with serve(tmp_path, monkeypatch) as server:
        yield server


Attempt = Callable[[UUID], Awaitable[None]]


@pytest.fixture
async def attempt(house: House) -> AsyncIterator[Attempt]:
    """What a worker does with a job's message, on the test's own loop."""
    from workers import mail, runtime  # read the settings that `house` has set

    async with Here.open() as here:
        yield partial(runtime.attempt, cast("Process", here), mail.send_mail)


async def make_mail(template: str, facts: dict[str, Any], recipient: str = "ada@example.com") -> tuple[UUID, UUID]:
    key = f"test:{uuid4()}"
    async with transaction() as session:
        await send(session, key=key, account_id=None, recipient=recipient, template=template, facts=facts)
    async with transaction() as session:
        mail_id = (await session.scalars(select(Delivery.id).where(Delivery.key == key))).one()
        return mail_id, (await session.scalars(select(Job.id).where(Job.key == f"mail:{mail_id}"))).one()


async def states(mail_id: UUID, job_id: UUID) -> tuple[str, str]:
    async with transaction() as session:
        mail, job = await session.get_one(Delivery, mail_id), await session.get_one(Job, job_id)
        return mail.state, job.state


async def due_again(job_id: UUID) -> None:
    async with transaction() as session:
        await session.execute(update(Job).where(Job.id == job_id).values(available_at=func.now()))


async def test_a_mail_is_sent_once_however_often_its_message_comes(attempt: Attempt, mail_server: MailServer) -> None:
    mail_id, job_id = await make_mail("receipt", RECEIPT)

    for _ in range(3):
        await attempt(job_id)

    assert len(mail_server.inbox.mails) == 1
    assert await states(mail_id, job_id) == (DeliveryState.SENT, JobState.DONE)


async def test_a_server_that_says_later_defers_the_mail(attempt: Attempt, mail_server: MailServer) -> None:
    mail_id, job_id = await make_mail("receipt", RECEIPT)
    mail_server.inbox.knobs.refuse = 1

    await attempt(job_id)
    deferred = await states(mail_id, job_id)
    await due_again(job_id)
    await attempt(job_id)

    assert deferred == (DeliveryState.DEFERRED, JobState.QUEUED)
    assert await states(mail_id, job_id) == (DeliveryState.SENT, JobState.DONE)
    assert len(mail_server.inbox.mails) == 1


async def error_of(mail_id: UUID) -> str | None:
    async with transaction() as session:
        return (await session.get_one(Delivery, mail_id)).error


async def test_a_refused_recipient_ends_the_mail_until_an_admin_has_it_tried_anew(
    attempt: Attempt, mail_server: MailServer
) -> None:
    mail_server.inbox.knobs.refuse_recipients = ["*@bounce.example"]
    mail_id, job_id = await make_mail("receipt", RECEIPT, "ada@bounce.example")

    await attempt(job_id)

    assert await states(mail_id, job_id) == (DeliveryState.BOUNCED, JobState.FAILED)
    assert await error_of(mail_id) == "mail-refused 550"
    mail_server.inbox.knobs.refuse_recipients = []
    async with transaction() as session:
        await resend(session, mail_id)
    async with transaction() as session:
        job_id = (await session.scalars(select(Job.id).where(Job.key == f"mail:{mail_id}:1"))).one()
    await attempt(job_id)
    assert await states(mail_id, job_id) == (DeliveryState.SENT, JobState.DONE)
    assert len(mail_server.inbox.mails) == 1


@pytest.mark.parametrize(("template", "facts"), [("receipt", RECEIPT), ("verification", CODE)])
@pytest.mark.parametrize("taken", [True, False])
async def test_a_mail_whose_outcome_is_open_is_not_sent_twice(
    attempt: Attempt, mail_server: MailServer, taken: bool, template: str, facts: dict[str, Any]
) -> None:
    mail_id, job_id = await make_mail(template, facts)
    mail_server.inbox.knobs.drop, mail_server.inbox.knobs.drop_keeps = 1, taken

    await attempt(job_id)
    await attempt(job_id)

    assert await states(mail_id, job_id) == (DeliveryState.FAILED, JobState.FAILED)
    assert len(mail_server.inbox.mails) == taken
    assert await error_of(mail_id) == "outcome-unknown"


async def test_a_server_that_thinks_long_over_the_dot_is_waited_for(
    attempt: Attempt, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5321 gives it ten minutes: who leaves before has it sent twice."""
    monkeypatch.setattr(smtp, "TIMEOUT", 0.3)
    mail_server.inbox.knobs.delay_ms = 900
    mail_id, job_id = await make_mail("receipt", RECEIPT)

    await attempt(job_id)

    assert await states(mail_id, job_id) == (DeliveryState.SENT, JobState.DONE)
    assert len(mail_server.inbox.mails) == 1


async def test_a_worker_that_ends_before_the_dot_leaves_a_mail_that_is_sent_by_the_next(
    attempt: Attempt, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has the whole text by then, and takes no mail without its dot."""
    mail_id, job_id = await make_mail("receipt", RECEIPT)
    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "mark_sending", _die)
        await attempt(job_id)
    cut = await states(mail_id, job_id)
    await due_again(job_id)

    await attempt(job_id)

    assert cut == (DeliveryState.QUEUED, JobState.QUEUED)
    assert await states(mail_id, job_id) == (DeliveryState.SENT, JobState.DONE)
    assert len(mail_server.inbox.mails) == 1


async def _die(*_: Any, **__: Any) -> None:
    raise RuntimeError("the worker ends here")
