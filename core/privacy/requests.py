"""Requests under data protection law as rows: filed, asked for again, extended, closed; each step is kept.

What a request sets going is in core/privacy/asking.py.
"""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account
from core.errors import ClofyError, Kind, NotFound
from core.mail import deliveries
from core.privacy import clocks
from core.privacy.request_models import (
    IS_UNFINISHED,
    UNFINISHED,
    Did,
    PrivacyRequest,
    RequestKind,
    RequestStep,
    State,
    Via,
)

PAGE = 50
MOST_WORDS = 10_000  # characters of what a person wrote to a request
BY_HOUSE, BY_ADMIN, BY_ACCOUNT, BY_MAIL = "house", "admin", "account", "mail"  # manners of a step
SIGNED_IN = "signed in to the account"
COPY_READY = "The copy of your data is ready: download it within seven days on the page of your data."
NAMES = {
    RequestKind.ACCESS: "a copy of your data",
    RequestKind.PORTABILITY: "your data in a form to take along",
    RequestKind.CORRECTION: "a correction",
    RequestKind.ERASURE: "the erasure of your account",
    RequestKind.RESTRICTION: "a restriction: that we keep your data and do nothing else with it",
    RequestKind.OBJECTION: "an objection to what we do with your data",
    RequestKind.OPT_OUT: "that your data is neither sold nor shared",
}


class RequestClosed(ClofyError):
    """This request is closed already."""

    kind = Kind.CONFLICT


class TooLateToExtend(ClofyError):
    """Only within the first month, and once, can the time be made longer."""

    kind = Kind.CONFLICT


async def file(
    session: AsyncSession, *, account_id: UUID, kind: RequestKind, via: Via, now: datetime, words: str = ""
) -> PrivacyRequest:
    """Write a request of somebody who is signed in down, and tell them that it has come.

    While one of its kind is unfinished, asking again is that one, by whichever ways; if it waited to know who asks,
    it knows now. words: what the person wrote to it
    """
    row = await take(session, account_id=account_id, kind=kind, via=via, received_at=now, now=now, words=words)
    if row.state == State.WAITING_FOR_IDENTITY:
        await identified(session, row, how=SIGNED_IN, now=now)
    if not row.identity:
        row.identity = SIGNED_IN
    await session.flush()
    return row


async def take(
    session: AsyncSession,
    *,
    account_id: UUID | None,
    kind: RequestKind,
    via: Via,
    received_at: datetime,
    now: datetime,
    words: str,
    sender: str | None = None,
    by: UUID | None = None,
) -> PrivacyRequest:
    """The unfinished request of this kind, with one way more; or a new one. Its row is locked.

    sender, by: of a mail, and the admin who enters it (core/privacy/requests_by_mail.py)
    """
    due = clocks.due(received_at)
    written = insert(PrivacyRequest).values(
        account_id=account_id,
        kind=kind,
        sources=[via],
        state=State.OPEN if via == Via.ACCOUNT else State.WAITING_FOR_IDENTITY,
        sender=sender,
        words=words,
        received_at=received_at,
        acknowledge_by=due.acknowledge_by,
        gdpr_due=due.gdpr,
        ccpa_due=due.ccpa,
        identity="",
    )
    unfinished = [PrivacyRequest.account_id, PrivacyRequest.kind]
    once = written.on_conflict_do_nothing(index_elements=unfinished, index_where=IS_UNFINISHED)
    fresh = await session.scalar(once.returning(PrivacyRequest.id))
    mine = PrivacyRequest.id == fresh
    if fresh is None:
        mine = (PrivacyRequest.account_id == account_id) & (PrivacyRequest.kind == kind)
    query = select(PrivacyRequest).where(mine, PrivacyRequest.state.in_(UNFINISHED)).with_for_update()
    row = (await session.scalars(query)).one()
    manner = BY_ACCOUNT if via == Via.ACCOUNT else BY_MAIL
    if row.id == fresh:
        await step(session, row, Did.FILED, manner=manner, now=now, by=by)
        await _acknowledge(session, row, now=now)
    else:
        row.sources, row.sender = sorted({*row.sources, via}), row.sender or sender
        if received_at < row.received_at and row.extended_at is None:
            row.received_at, row.acknowledge_by = received_at, due.acknowledge_by
            row.gdpr_due, row.ccpa_due = due.gdpr, due.ccpa
        row.words = "\n\n".join(part for part in (row.words, words) if part)[:MOST_WORDS]
        await step(session, row, Did.ASKED_AGAIN, manner=manner, now=now, by=by)
    await session.flush()
    return row


async def _acknowledge(session: AsyncSession, row: PrivacyRequest, *, now: datetime) -> None:
    """Say that it has come, with its filing: the ten business days are met at once."""
    row.acknowledged_at = now
    if row.sender is None:
        await tell(session, row, "received", title="We have your request", words=received_words(row))
    await step(session, row, Did.ACKNOWLEDGED, manner=BY_HOUSE, now=now)


def received_words(row: PrivacyRequest) -> str:
    return (
        f"You asked for {NAMES[RequestKind(row.kind)]}. We answer by {shown(row.gdpr_due)} at the latest; if we need "
        "longer, we tell you before that, and why."
    )


def shown(value: date) -> str:
    return f"{value:%-d %B %Y}"


async def step(
    session: AsyncSession,
    row: PrivacyRequest,
    did: Did,
    *,
    manner: str,
    now: datetime,
    words: str = "",
    basis: str | None = None,
    by: UUID | None = None,
) -> None:
    """Keep what was done, in the transaction that does it."""
    session.add(RequestStep(request_id=row.id, at=now, did=did, manner=manner, words=words, basis=basis, by=by))
    await session.flush()


async def tell(session: AsyncSession, row: PrivacyRequest, key: str, *, title: str, words: str) -> None:
    """Write to the account that a request is of, once for each key. Nobody else is written to."""
    account = await session.get(Account, row.account_id) if row.account_id else None
    if account is None or account.email_verified_at is None:
        return
    await deliveries.send(
        session,
        key=f"privacy_request:{row.id}:{key}",
        account_id=account.id,
        recipient=account.email,
        template="privacy_request",
        facts={"name": account.name, "title": title, "text": words, "asked_on": shown(row.received_at)},
    )


async def identified(
    session: AsyncSession, row: PrivacyRequest, *, how: str, now: datetime, by: UUID | None = None
) -> None:
    """It was them: what waited for that is open now."""
    if row.state != State.WAITING_FOR_IDENTITY:
        return
    row.state, row.identity = State.OPEN, how
    await step(session, row, Did.IDENTIFIED, manner=BY_ADMIN if by else BY_ACCOUNT, words=how, now=now, by=by)


async def export_ended(session: AsyncSession, *, account_id: UUID, is_ready: bool, now: datetime) -> None:
    """A copy of the account's data was made, or was given up: then an admin is to see to it."""
    kinds = (RequestKind.ACCESS, RequestKind.PORTABILITY)
    waiting = (PrivacyRequest.account_id == account_id, PrivacyRequest.kind.in_(kinds))
    query = select(PrivacyRequest).where(*waiting, PrivacyRequest.state == State.WORKING).with_for_update()
    for row in await session.scalars(query):
        if is_ready:
            await close(session, row.id, outcome=State.ANSWERED, words=COPY_READY, now=now, tells=False)
        else:
            row.state = State.OPEN
            await step(session, row, Did.NOTED, manner=BY_HOUSE, words="The copy could not be made.", now=now)


async def working(session: AsyncSession, row: PrivacyRequest, *, now: datetime, words: str) -> None:
    """A job has it now; the job closes it."""
    if row.state == State.OPEN:
        row.state = State.WORKING
        await step(session, row, Did.WORKING, manner=BY_HOUSE, words=words, now=now)


async def close(
    session: AsyncSession,
    request_id: UUID,
    *,
    outcome: State,
    now: datetime,
    words: str = "",
    basis: str | None = None,
    by: UUID | None = None,
    tells: bool = True,
) -> bool:
    """End a request; False if it had ended. Who asked is written to if there are words for them.

    outcome: ANSWERED, REFUSED or WITHDRAWN; a refusal has a basis: the article, or the reason
    words: what was answered
    tells: False where another mail says it
    """
    assert outcome not in UNFINISHED
    assert basis or outcome != State.REFUSED
    row = await locked(session, request_id)
    if row.closed_at is not None:
        return False
    row.state, row.closed_at, row.outcome, row.basis = outcome, now, words or outcome, basis
    manner = BY_ADMIN if by else BY_ACCOUNT if outcome == State.WITHDRAWN else BY_HOUSE
    await step(session, row, Did(outcome), manner=manner, words=words, basis=basis, now=now, by=by)
    if words and tells and row.identity:
        title = "Your request was refused" if outcome == State.REFUSED else "Your request is answered"
        await tell(session, row, "closed", title=title, words=f"{words}\n\n{basis}" if basis else words)
    await session.flush()
    return True


async def extend(session: AsyncSession, request_id: UUID, *, reason: str, now: datetime, by: UUID | None) -> None:
    """Take the longer time, and tell who asked. Raises NotFound, RequestClosed, TooLateToExtend."""
    row = await unfinished(session, request_id)
    if row.extended_at is not None or clocks.day_of(now) > row.gdpr_due:
        raise TooLateToExtend(request=request_id)
    longer = clocks.due(row.received_at, extended=True)
    row.gdpr_due, row.ccpa_due = longer.gdpr, longer.ccpa
    row.extended_at, row.extension_reason = now, reason
    until = min(longer.gdpr, longer.ccpa)
    words = f"We need longer for your request, until {shown(until)} at the latest. Why: {reason}"
    await step(session, row, Did.EXTENDED, manner=BY_ADMIN, words=words, basis=reason, now=now, by=by)
    if row.identity:
        await tell(session, row, "extended", title="Your request takes longer", words=words)
    await session.flush()


async def unfinished(session: AsyncSession, request_id: UUID) -> PrivacyRequest:
    """Locked. Raises NotFound, RequestClosed."""
    row = await locked(session, request_id)
    if row.closed_at is not None:
        raise RequestClosed(request=request_id)
    return row


async def locked(session: AsyncSession, request_id: UUID) -> PrivacyRequest:
    """Raises NotFound."""
    row = await session.get(PrivacyRequest, request_id, with_for_update=True)
    if row is None:
        raise NotFound(request=request_id)
    return row


async def of_account(session: AsyncSession, *, account_id: UUID) -> Sequence[PrivacyRequest]:
    """Newest first."""
    query = select(PrivacyRequest).where(PrivacyRequest.account_id == account_id)
    return (await session.scalars(query.order_by(PrivacyRequest.id.desc()).limit(PAGE))).all()


async def find(session: AsyncSession, request_id: UUID, *, account_id: UUID) -> PrivacyRequest:
    """One's own. Raises NotFound."""
    mine = (PrivacyRequest.id == request_id, PrivacyRequest.account_id == account_id)
    row = await session.scalar(select(PrivacyRequest).where(*mine))
    if row is None:
        raise NotFound(request=request_id)
    return row


async def standing(session: AsyncSession, *, account_id: UUID, kind: RequestKind) -> PrivacyRequest | None:
    """The unfinished one of a kind."""
    mine = (PrivacyRequest.account_id == account_id, PrivacyRequest.kind == kind)
    found: PrivacyRequest | None = await session.scalar(
        select(PrivacyRequest).where(*mine, PrivacyRequest.state.in_(UNFINISHED))
    )
    return found


async def steps(session: AsyncSession, request_id: UUID) -> Sequence[RequestStep]:
    """Oldest first."""
    query = select(RequestStep).where(RequestStep.request_id == request_id).order_by(RequestStep.id)
    return (await session.scalars(query)).all()
