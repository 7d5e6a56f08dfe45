"""The erasure, step by step: each may be cut off anywhere, and is done again (workers/erasure.py has the order)."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.accounts import standing
from core.accounts.models import Account
from core.audit import Action
from core.billing import refunds, taking_up
from core.billing.models import Purchase, PurchaseState
from core.billing.refunds import NotRefundable
from core.billing.taking_up import Known
from core.errors import Unavailable
from core.jobs import Job, JobState
from core.mail import deliveries
from core.media.blobs import Room
from core.media.models import Media, MediaFile, MediaUse
from core.privacy import erasure, erasure_proof, holds, requests
from core.privacy.erasure_models import OPEN, AccountErasure, ErasureState
from core.privacy.erasure_rows import erase_rows
from core.privacy.exports_models import Export
from core.privacy.request_models import State
from core.queue import TaskName
from core.telemetry import log

LEGAL_HOLD, LAST_ADMIN = "legal-hold", "last-admin"
LINK_LIVES = timedelta(days=30)
LAST_MAIL_KEPT = timedelta(days=7)  # one that could not be sent; an admin may try again until then

logger = log(__name__)


class StillRunning(Unavailable):
    """Something that this person had asked for is being stopped."""

    retry_after = 2.0


@dataclass(frozen=True)
class Begun:
    """An erasure that goes on, and the jobs of its account that are to stop."""

    account_id: UUID
    running: Sequence[UUID] = ()


async def start(session: AsyncSession, erasure_id: UUID, *, now: datetime) -> Begun | None:
    """Shut the account, from when on nothing can be undone. None: it is not due, is ended, or has to wait."""
    made, account = await _locked(session, erasure_id)
    if made is None or made.state not in OPEN or made.due_at > now:
        return None
    if account is None:  # an address that nobody had confirmed: its account is gone already
        made.state = ErasureState.RUNNING
        return Begun(made.account_id)
    if (reason := await _obstacle(session, account)) is not None:
        if made.waits_for != reason:
            made.waits_for = reason
            await erasure.tell(session, made, account, "waits", reason=reason)
        return None
    made.state, made.waits_for = ErasureState.RUNNING, None
    running = await standing.disable(session, account_id=account.id, reason="erasure")
    return Begun(account.id, running)


async def _locked(session: AsyncSession, erasure_id: UUID) -> tuple[AccountErasure | None, Account | None]:
    """Both rows, the account's first, as who asks and who undoes takes them."""
    mine = select(AccountErasure.account_id).where(AccountErasure.id == erasure_id).scalar_subquery()
    account = await session.scalar(select(Account).where(Account.id == mine).with_for_update())
    return await session.get(AccountErasure, erasure_id, with_for_update=True), account


async def _obstacle(session: AsyncSession, account: Account) -> str | None:
    if await holds.held(session, account.id):
        return LEGAL_HOLD
    return LAST_ADMIN if await erasure.is_last_admin(session, account) else None


async def until_nothing_runs(session: AsyncSession, account_id: UUID) -> None:
    """Raises StillRunning while a worker has a job of the account: it settles what it did, and charges for it."""
    running = select(func.count()).where(Job.account_id == account_id, Job.state == JobState.RUNNING)
    if count := await session.scalar(running):
        raise StillRunning(account=account_id, jobs=count)


async def open_checkouts(session: AsyncSession, account_id: UUID) -> list[Known]:
    """Purchases that could still be paid at Stripe."""
    mine = (Purchase.account_id == account_id, Purchase.state == PurchaseState.OPEN)
    ids = (await session.scalars(select(Purchase.id).where(*mine, Purchase.stripe_session_id.is_not(None)))).all()
    return [known for one in ids if (known := await taking_up.know(session, one)) is not None]


@dataclass(frozen=True)
class Outside:
    """What lies outside the database: blobs, and the jobs whose words may still be in a stream."""

    blobs: Sequence[tuple[Room, str]]
    jobs: Sequence[UUID]
    stripe_sessions: Sequence[str]  # on which a customer may hang

    @property
    def counts(self) -> dict[str, int]:
        return {str(room): sum(one is room for one, _ in self.blobs) for room in Room if room in dict(self.blobs)}


async def outside(session: AsyncSession, account_id: UUID) -> Outside:
    """By the rows, which therefore go after it."""
    unused = select(Media.id).where(Media.account_id == account_id, ~_is_used(Media.id))
    theirs = [(Room.QUARANTINE, str(one)) for one in await session.scalars(select(Media.id).where(_mine(account_id)))]
    others = select(MediaFile.name).where(MediaFile.media_id.not_in(unused))
    files = select(MediaFile.name).where(MediaFile.media_id.in_(unused), MediaFile.name.not_in(others)).distinct()
    theirs += [(Room.PUBLIC, name) for name in await session.scalars(files)]
    copies = select(Export.blob).where(Export.account_id == account_id, Export.blob.is_not(None))
    theirs += [(Room.EXPORTS, name) for name in await session.scalars(copies) if name is not None]
    jobs_of = select(Job.id).where(Job.account_id == account_id)
    bought = select(Purchase.stripe_session_id).where(
        Purchase.account_id == account_id, Purchase.stripe_session_id.is_not(None)
    )
    return Outside(
        theirs,
        (await session.scalars(jobs_of)).all(),
        [one for one in await session.scalars(bought) if one is not None],
    )


def _mine(account_id: UUID) -> Any:
    return Media.account_id == account_id


def _is_used(media_id: Any) -> Any:
    return select(MediaUse.media_id).where(MediaUse.media_id == media_id).exists()


async def finish(
    session: AsyncSession, erasure_id: UUID, *, outside: dict[str, Any], now: datetime
) -> dict[str, Any] | None:
    """Erase the rows, sign the proof and mail it to the address as it was: all of it or nothing.

    outside: what was done outside the database, as the proof tells it
    Returns the proof; None if it was done before.
    """
    made, account = await _locked(session, erasure_id)
    if made is None or made.state != ErasureState.RUNNING:
        return None
    to, name = (account.email, account.name) if account is not None else ("", "")
    is_proven = account is not None and account.email_verified_at is not None
    rows = await erase_rows(session, made.account_id, now=now)
    token = secrets.token_urlsafe(32)
    made.proof = erasure_proof.make(made.id, rows=rows, outside=outside, asked_at=made.asked_at, now=now)
    made.state, made.ended_at, made.link_hash = ErasureState.DONE, now, link_hash(token)
    await session.flush()
    await audit.note(session, Action.ERASED, account_id=made.account_id, about=f"erasure:{made.id}")
    if is_proven:
        await deliveries.send(
            session,
            key=f"erasure:{made.id}:done",
            account_id=None,  # there is none any more; the row goes once it is sent
            recipient=to,
            template="erasure_done",
            facts={"name": name, "link": token, "text": erasure_proof.as_text(made.proof)},
        )
    for request in await requests.of_account(session, account_id=made.account_id):
        await requests.close(session, request.id, outcome=State.ANSWERED, words="The account was erased.", now=now)
    return made.proof


def link_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def proof_by_link(session: AsyncSession, token: str, *, now: datetime) -> AccountErasure | None:
    """For who has the last mail, and no account; for thirty days."""
    known = (AccountErasure.link_hash == link_hash(token), AccountErasure.ended_at > now - LINK_LIVES)
    found: AccountErasure | None = await session.scalar(select(AccountErasure).where(*known))
    return found


async def enqueue_due(session: AsyncSession, *, now: datetime) -> int:
    """Have those done that are due and whose own job is over: it waited for a hold, or was given up. How many."""
    begun = 0
    for one in await erasure.listed(session, due_before=now):
        key = f"erase:{one.id}:{now:%Y-%m-%dT%H}"
        under_way = select(Job.id).where(
            Job.task == TaskName.ERASE,
            Job.payload["erasure_id"].astext == str(one.id),
            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
        )
        if await session.scalar(under_way.limit(1)) is None:
            payload = {"erasure_id": str(one.id)}
            begun += await jobs.enqueue(session, TaskName.ERASE, payload=payload, key=key) is not None
        if one.due_at <= now - erasure.OVERDUE and one.waits_for != LEGAL_HOLD:
            facts = {"erasure": str(one.id), "state": one.state, "waits_for": one.waits_for}
            logger.error("erasure_overdue", **facts)
    return begun


async def forget_last_mails(session: AsyncSession, *, now: datetime) -> int:
    """The last mails to erased people: gone once sent; one that could not be sent, after a week."""
    return await deliveries.forget_last_words(session, before=now - LAST_MAIL_KEPT)


async def give_back_late(session: AsyncSession, *, now: datetime) -> int:
    """Pay back what was paid after an erasure: the credits came to a number that nobody can spend by. How many."""
    late = (
        select(Purchase.id, Purchase.account_id)
        .join(Account, Account.id == Purchase.account_id)
        .where(
            Account.erased_at.is_not(None),
            Purchase.state == PurchaseState.PAID,
            Purchase.paid_at > Account.erased_at,
            Purchase.reversed_minor == 0,
        )
    )
    asked = 0
    for purchase_id, account_id in (await session.execute(late)).all():
        purchase = await refunds.lock(session, purchase_id, account_id=account_id)
        outcome = "asked"
        try:
            async with session.begin_nested():
                await refunds.request(session, purchase, now=now)
            asked += 1
        except NotRefundable as error:
            outcome = str(error.facts["reason"])
        logger.error("purchase_after_erasure", purchase=str(purchase_id), refund=outcome)
    return asked
