"""Requests that came by mail: an admin enters them, and only the account's owner, signed in, can say that it was them.

Whoever sent the mail is told the same words whether or not there is an account; somebody who pretends gets nothing.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.addresses import parse_address
from core.accounts.models import Account
from core.errors import ClofyError, InvalidInput, Kind
from core.mail import deliveries
from core.privacy import requests
from core.privacy.request_models import Did, PrivacyRequest, RequestKind, State, Via

NOT_PROVEN = "We could not verify who asked (GDPR, article 12(6); 11 CCR 7060)."
NOT_THEM = "The owner of the account says that it was not them (GDPR, article 12(6); 11 CCR 7060)."


class NothingToAsk(ClofyError):
    """There is nobody to ask: no account has this address, or its owner has answered already."""

    kind = Kind.CONFLICT


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
) -> PrivacyRequest:
    """Write a mail down; its clocks run from when it came. While the account has the same request, it is that one.

    sender: the address that it came from; about: the account's, if the mail names another one
    Raises InvalidInput.
    """
    if received_at > now:
        raise InvalidInput(field="received_at", rule="must not be in the future")
    written_from, named = parse_address(sender), parse_address(about or sender)
    proven = (Account.email_key == named.key, Account.email_verified_at.is_not(None))
    account = await session.scalar(select(Account).where(*proven))
    row = await requests.take(
        session,
        account_id=account.id if account else None,
        kind=kind,
        via=Via.MAIL,
        received_at=received_at,
        now=now,
        words=words,
        sender=written_from.email,
        by=by,
    )
    if account is not None and row.state == State.WAITING_FOR_IDENTITY:
        await ask_identity(session, row, now=now, by=by)
    if account is None or written_from.key != account.email_key:
        await deliveries.send(
            session,
            key=f"privacy_by_mail:{row.id}:{written_from.key}",
            account_id=None,
            recipient=written_from.email,
            template="privacy_by_mail",
            facts={"asked_on": requests.shown(received_at)},
        )
    return row


async def ask_identity(session: AsyncSession, row: PrivacyRequest, *, now: datetime, by: UUID) -> None:
    """Write to the account that the request names, and to nobody else. Raises NothingToAsk."""
    account = await session.get(Account, row.account_id) if row.account_id else None
    if account is None or row.state != State.WAITING_FOR_IDENTITY:
        raise NothingToAsk(request=row.id)
    asked = [one for one in await requests.steps(session, row.id) if one.did == Did.IDENTITY_ASKED]
    await deliveries.send(
        session,
        key=f"privacy_identity:{row.id}:{len(asked)}",
        account_id=account.id,
        recipient=account.email,
        template="privacy_identity",
        facts={
            "name": account.name,
            "what": requests.NAMES[RequestKind(row.kind)],
            "asked_on": requests.shown(row.received_at),
            "sender": row.sender or account.email,
        },
    )
    await requests.step(session, row, Did.IDENTITY_ASKED, manner=requests.BY_MAIL, now=now, by=by)
