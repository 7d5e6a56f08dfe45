"""Requests as admins see them: by due date, with what is done about each."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.audit import Action, Caller
from core.errors import ClofyError, Kind, NotFound
from core.privacy import requests, requests_by_mail
from core.privacy.request_models import UNFINISHED, Did, PrivacyRequest, RequestKind, State

PAGE = 50


class NotProven(ClofyError):
    """Nobody knows yet who asks. Such a request can be refused, and not answered."""

    kind = Kind.CONFLICT


async def page(session: AsyncSession, *, closed: bool, after: UUID | None) -> list[PrivacyRequest]:
    """The unfinished ones, the first to be due first; or those that are closed, newest first. after: the last id."""
    if closed:
        query = select(PrivacyRequest).where(PrivacyRequest.closed_at.is_not(None)).order_by(PrivacyRequest.id.desc())
        query = query.where(PrivacyRequest.id < after) if after else query
    else:
        place = tuple_(PrivacyRequest.gdpr_due, PrivacyRequest.id)
        query = select(PrivacyRequest).where(PrivacyRequest.state.in_(UNFINISHED)).order_by(place)
        last = select(PrivacyRequest.gdpr_due, PrivacyRequest.id).where(PrivacyRequest.id == after)
        query = query.where(place > last.scalar_subquery()) if after else query
    return list(await session.scalars(query.limit(PAGE)))


async def look(session: AsyncSession, request_id: UUID, *, by: UUID, caller: Caller) -> PrivacyRequest:
    """One request, for an admin's eyes; that they looked is logged. Raises NotFound."""
    row = await session.get(PrivacyRequest, request_id)
    if row is None:
        raise NotFound(request=request_id)
    await _note(session, Action.REQUEST_SEEN, row, by=by, caller=caller)
    return row


async def enter(
    session: AsyncSession,
    *,
    sender: str,
    about: str | None,
    kind: RequestKind,
    words: str,
    received_at: datetime,
    now: datetime,
    by: UUID,
    caller: Caller,
) -> PrivacyRequest:
    """A request that came by mail (requests_by_mail.py). Raises InvalidInput."""
    row = await requests_by_mail.enter(
        session, sender=sender, about=about, kind=kind, words=words, received_at=received_at, now=now, by=by
    )
    await _note(session, Action.REQUEST_FILED, row, by=by, caller=caller)
    return row


async def ask_identity(session: AsyncSession, request_id: UUID, *, now: datetime, by: UUID, caller: Caller) -> None:
    """Raises NotFound, RequestClosed, NothingToAsk."""
    row = await requests.unfinished(session, request_id)
    await requests_by_mail.ask_identity(session, row, now=now, by=by)
    await _note(session, Action.REQUEST_HANDLED, row, by=by, caller=caller, did=Did.IDENTITY_ASKED)


async def extend(
    session: AsyncSession, request_id: UUID, *, reason: str, now: datetime, by: UUID, caller: Caller
) -> None:
    """Raises NotFound, RequestClosed, TooLateToExtend."""
    await requests.extend(session, request_id, reason=reason, now=now, by=by)
    row = await requests.locked(session, request_id)
    await _note(session, Action.REQUEST_HANDLED, row, by=by, caller=caller, did=Did.EXTENDED)


async def note(session: AsyncSession, request_id: UUID, *, words: str, now: datetime, by: UUID, caller: Caller) -> None:
    """For other admins; the person finds it in an export of their data. Raises NotFound."""
    row = await requests.locked(session, request_id)
    await requests.step(session, row, Did.NOTED, manner=requests.BY_ADMIN, words=words, now=now, by=by)
    await _note(session, Action.REQUEST_HANDLED, row, by=by, caller=caller, did=Did.NOTED)


async def answer(
    session: AsyncSession, request_id: UUID, *, words: str, now: datetime, by: UUID, caller: Caller
) -> None:
    """Write to who asked, and end it. Raises NotFound, RequestClosed, NotProven."""
    row = await requests.unfinished(session, request_id)
    if not row.identity:
        raise NotProven(request=request_id)
    await requests.close(session, request_id, outcome=State.ANSWERED, words=words, now=now, by=by)
    await _note(session, Action.REQUEST_HANDLED, row, by=by, caller=caller, did=Did.ANSWERED)


async def refuse(
    session: AsyncSession, request_id: UUID, *, words: str, basis: str, now: datetime, by: UUID, caller: Caller
) -> None:
    """Write to who asked, if we know that it was them, and end it. Raises NotFound, RequestClosed."""
    row = await requests.unfinished(session, request_id)
    words = f"{words}\n\n{REMEDIES}"
    await requests.close(session, request_id, outcome=State.REFUSED, words=words, basis=basis, now=now, by=by)
    await _note(session, Action.REQUEST_HANDLED, row, by=by, caller=caller, did=Did.REFUSED)


# GDPR, article 12(4): with a refusal comes the word of who can be complained to.
REMEDIES = "You may complain to the data protection authority of where you live or work, or go to court."


async def _note(
    session: AsyncSession, action: Action, row: PrivacyRequest, *, by: UUID, caller: Caller, did: str | None = None
) -> None:
    facts = {"did": did} if did else {}
    await audit.note(
        session,
        action,
        account_id=row.account_id,
        actor_id=by,
        caller=caller,
        about=f"request:{row.id}",
        facts=facts,
    )
