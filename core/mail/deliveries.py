"""Mails as rows: written with their cause, once for each key, and where each of them is."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState
from core.mail.models import Delivery, DeliveryState
from core.queue import TaskName

SECRET_FACTS = ("code", "link")  # wiped when the mail is sent or given up
HARMLESS_TWICE = frozenset(
    {"verification", "sign_in_code", "lost_factor_code"}
)  # somebody waits for it, and a second copy says nothing new


class OutcomeUnknown(ClofyError):
    """We lost the connection, or the process, while the mail was being handed over; it may have been accepted."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Outgoing:
    id: UUID
    recipient: str
    template: str
    facts: dict[str, Any]

    @property
    def harmless_twice(self) -> bool:
        return self.template in HARMLESS_TWICE


async def send(
    session: AsyncSession, *, key: str, account_id: UUID | None, recipient: str, template: str, facts: dict[str, Any]
) -> bool:
    """Write a mail and the job that sends it, once for each key; False if the key was there.

    key: what the mail is about, as "receipt:<purchase id>"
    facts: what its template is rendered from; a `code` and a `link` are wiped once it is sent
    """
    row = insert(Delivery).values(
        id=uuid4(), key=key, account_id=account_id, recipient=recipient, template=template, facts=facts
    )
    written = row.on_conflict_do_nothing(index_elements=[Delivery.key]).returning(Delivery.id)
    delivery_id = await session.scalar(written)
    if delivery_id is None:
        return False
    await jobs.enqueue(
        session,
        TaskName.SEND_MAIL,
        payload={"delivery_id": str(delivery_id)},
        key=f"mail:{delivery_id}",
    )
    return True


async def get_outgoing(session: AsyncSession, delivery_id: UUID) -> Outgoing | None:
    """The mail that is to be sent; None if it was sent already.

    Raises OutcomeUnknown for one that an earlier attempt was handing over when it ended without a word: SMTP has no
    way to ask, so it is not sent again, unless a second copy is harmless.
    """
    row = await session.get(Delivery, delivery_id)
    if row is None:
        raise NotFound(delivery=delivery_id)
    if row.state in (DeliveryState.SENT, DeliveryState.FAILED):
        return None
    mail = Outgoing(id=row.id, recipient=row.recipient, template=row.template, facts=row.facts)
    if row.state == DeliveryState.SENDING and not mail.harmless_twice:
        raise OutcomeUnknown(delivery=delivery_id)
    return mail


async def mark_sending(session: AsyncSession, delivery_id: UUID) -> None:
    """From the commit of this on, the mail may have been accepted."""
    await _mark(session, delivery_id, state=DeliveryState.SENDING, error=None)


async def mark_deferred(session: AsyncSession, delivery_id: UUID, *, error: str) -> None:
    """It was surely not accepted, and is tried again."""
    await _mark(session, delivery_id, state=DeliveryState.DEFERRED, error=error)


async def mark_sent(session: AsyncSession, delivery_id: UUID) -> None:
    await _mark(
        session,
        delivery_id,
        state=DeliveryState.SENT,
        error=None,
        sent_at=func.now(),
        facts=_without_secrets(),
    )


def _without_secrets() -> Any:
    facts: Any = Delivery.facts
    for name in SECRET_FACTS:
        facts = facts.op("-")(name)
    return facts


async def _mark(session: AsyncSession, delivery_id: UUID, **values: Any) -> None:
    await session.execute(update(Delivery).where(Delivery.id == delivery_id).values(**values))


@jobs.on_end(TaskName.SEND_MAIL)
async def sending_ended(session: AsyncSession, job: Job, _outcome: JobState, reason: str) -> None:
    """The job was given up: so is the mail, with the reason for who looks after it."""
    not_sent = (Delivery.id == UUID(job.payload["delivery_id"]), Delivery.state != DeliveryState.SENT)
    await session.execute(
        update(Delivery).where(*not_sent).values(state=DeliveryState.FAILED, error=reason, facts=_without_secrets())
    )
