"""Mails as rows: written with their cause, once for each key, and where each of them is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState
from core.mail import consents
from core.mail.consents import TOPIC_OF, WAY_OUT, unsubscribe_token
from core.mail.models import Delivery, DeliveryState, Topic
from core.notices import inbox
from core.queue import TaskName

# Who has one of these may do something, or learns of somebody else: they are wiped when the mail is sent or given up.
# "wiped" stays, for such a mail cannot be sent again.
SECRET_FACTS = ("code", "link", "proof", "inviter")
_SECRETS = f"array[{', '.join(repr(name) for name in SECRET_FACTS)}]"
_WIPED = text(f"""case when facts ?| {_SECRETS} then (facts - {_SECRETS}) || '{{"wiped": true}}' else facts end""")
OPEN = (DeliveryState.QUEUED, DeliveryState.DEFERRED)
NOBODY = "@erased.invalid"  # how the addresses of erased accounts end; nothing is written to them
LAST_WORDS = frozenset({"erasure_done"})  # to who has no account any more: the row goes once it is sent
UNKNOWN = "outcome-unknown"


class OutcomeUnknown(ClofyError):
    """We lost the connection, or the process, while the mail was being handed over; it may have been accepted."""

    kind = Kind.CONFLICT


class NotToResend(ClofyError):
    """This mail cannot be sent again: it is not given up, or its code is gone. A new code has to be asked for."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Outgoing:
    id: UUID
    recipient: str
    template: str
    facts: dict[str, Any]
    account_id: UUID | None = None
    language: str = "en"

    @property
    def topic(self) -> Topic | None:
        """What its reader may turn off; None for a mail about their own doing."""
        return TOPIC_OF.get(self.template)


async def send(
    session: AsyncSession,
    *,
    key: str,
    account_id: UUID | None,
    recipient: str,
    template: str,
    facts: dict[str, Any],
    language: str = "en",
) -> bool:
    """Write a mail and the job that sends it, once for each key; False if the key was there.

    An account finds the same in its inbox on our pages (core/notices), but for codes.
    To who is erased nothing is written.

    key: what the mail is about, as "receipt:<purchase id>"
    facts: what its template is rendered from; SECRET_FACTS are wiped once it is sent
    language: the recipient's; there is only "en" now
    """
    if recipient.endswith(NOBODY):
        return False
    if account_id is not None and (topic := TOPIC_OF.get(template)) is not None:
        facts = {**facts, WAY_OUT: unsubscribe_token(account_id, topic)}
    row = insert(Delivery).values(
        key=key,
        account_id=account_id,
        recipient=recipient,
        template=template,
        facts=facts,
        language=language,
    )
    written = row.on_conflict_do_nothing(index_elements=[Delivery.key]).returning(Delivery.id)
    delivery_id = await session.scalar(written)
    if delivery_id is None:
        return False
    await _enqueue(session, delivery_id, key=f"mail:{delivery_id}")
    if account_id is not None and template in inbox.KINDS:
        await inbox.tell(session, key=key, account_id=account_id, kind=template, facts=facts)
    return True


async def _enqueue(session: AsyncSession, delivery_id: UUID, *, key: str) -> None:
    await jobs.enqueue(session, TaskName.SEND_MAIL, payload={"delivery_id": str(delivery_id)}, key=key)


async def get_outgoing(session: AsyncSession, delivery_id: UUID) -> Outgoing | None:
    """The mail that is to be sent; None if there is nothing to do any more, or its reader does not want it.

    Raises OutcomeUnknown for one that an earlier attempt was handing over when it ended without a word: SMTP has no
    way to ask, so it is not sent again.
    """
    row = await session.get(Delivery, delivery_id)
    if row is None:
        raise NotFound(delivery=delivery_id)
    if row.state == DeliveryState.SENDING:
        raise OutcomeUnknown(delivery=delivery_id)
    if row.state not in OPEN:
        return None
    mail = Outgoing(row.id, row.recipient, row.template, row.facts, row.account_id, row.language)
    if (reason := await _unwanted(session, mail)) is not None:
        await _mark(session, delivery_id, OPEN, state=DeliveryState.SUPPRESSED, error=reason)
        return None
    return mail


async def _unwanted(session: AsyncSession, mail: Outgoing) -> str | None:
    """Why a mail of a topic is not to be sent, if it is not."""
    if mail.topic is None:
        return None
    if mail.account_id is None or not (await consents.choices(session, account_id=mail.account_id))[mail.topic]:
        return "not-wanted"
    ended = Delivery.state.in_([DeliveryState.SENT, DeliveryState.BOUNCED])
    last = select(Delivery.state).where(Delivery.recipient == mail.recipient, ended)
    if await session.scalar(last.order_by(Delivery.created_at.desc()).limit(1)) == DeliveryState.BOUNCED:
        return "address-bounced"
    return None


async def mark_sending(session: AsyncSession, delivery_id: UUID) -> None:
    """From the commit of this on, the mail may have been accepted.

    Raises OutcomeUnknown when another attempt was here first: it may have handed the mail over meanwhile.
    """
    if not await _mark(session, delivery_id, OPEN, state=DeliveryState.SENDING, error=None):
        raise OutcomeUnknown(delivery=delivery_id)


async def mark_deferred(session: AsyncSession, delivery_id: UUID, *, error: str) -> None:
    """It was surely not accepted, and is tried again."""
    await _mark(session, delivery_id, (*OPEN, DeliveryState.SENDING), state=DeliveryState.DEFERRED, error=error)


async def mark_bounced(session: AsyncSession, delivery_id: UUID, *, error: str) -> None:
    """The server refused it for good."""
    still = (*OPEN, DeliveryState.SENDING)
    await _mark(session, delivery_id, still, state=DeliveryState.BOUNCED, error=error, facts=_WIPED)


async def mark_sent(session: AsyncSession, delivery_id: UUID) -> None:
    """The server has said yes, whatever was written of the mail in between."""
    await _mark(session, delivery_id, (*DeliveryState,), state=DeliveryState.SENT, error=None, **_SENT)
    await session.execute(delete(Delivery).where(Delivery.id == delivery_id, Delivery.template.in_(LAST_WORDS)))


_SENT: dict[str, Any] = {"sent_at": func.now(), "facts": _WIPED}


async def _mark(session: AsyncSession, delivery_id: UUID, while_in: tuple[str, ...], **values: Any) -> bool:
    change = update(Delivery).where(Delivery.id == delivery_id, Delivery.state.in_(while_in)).values(**values)
    return await session.scalar(change.returning(Delivery.id)) is not None


@jobs.on_end(TaskName.SEND_MAIL)
async def sending_ended(session: AsyncSession, job: Job, _outcome: JobState, reason: str) -> None:
    """The job was given up: so is the mail, with the reason for who looks after it."""
    delivery_id, still = UUID(job.payload["delivery_id"]), (*OPEN, DeliveryState.SENDING)
    if await session.scalar(select(Delivery.state).where(Delivery.id == delivery_id)) == DeliveryState.SENDING:
        reason = UNKNOWN  # whatever ended the attempt, it ended while the mail was handed over
    await _mark(session, delivery_id, still, state=DeliveryState.FAILED, error=reason, facts=_WIPED)


async def forget_last_words(session: AsyncSession, *, before: datetime) -> int:
    """Delete last mails that could not be sent until then, with their addresses; how many."""
    old = (Delivery.template.in_(LAST_WORDS), Delivery.created_at < before)
    return len((await session.scalars(delete(Delivery).where(*old).returning(Delivery.id))).all())


def can_resend(mail: Delivery) -> bool:
    """Whether it was given up or refused, and still has all that it said."""
    return mail.state in (DeliveryState.FAILED, DeliveryState.BOUNCED) and "wiped" not in mail.facts


async def resend(session: AsyncSession, delivery_id: UUID) -> Delivery:
    """An admin's second chance for a mail that was given up or refused; with the same Message-ID, so that a mailbox
    which has it already can tell. Raises NotFound, NotToResend.
    """
    mail = await session.get(Delivery, delivery_id, with_for_update=True)
    if mail is None:
        raise NotFound(delivery=delivery_id)
    if not can_resend(mail):
        raise NotToResend(delivery=delivery_id)
    mail.state, mail.error, mail.resends = DeliveryState.QUEUED, None, mail.resends + 1
    await session.flush()
    await _enqueue(session, delivery_id, key=f"mail:{delivery_id}:{mail.resends}")
    return mail
