"""Keeping a person's data and doing nothing else with it (GDPR, article 18).

No questions (core/consultations/conversation.py), no mails but those about what they do themselves
(core/accounts/profile.py, reachable), and a hold, so that nothing is purged. Its owner ends it at any time; an admin
ends it only after having said so before (article 18(3)).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Account
from core.audit import NOBODY, Action, Caller
from core.errors import ClofyError, Kind, NotFound
from core.mail import deliveries
from core.privacy import holds

NOTICE = timedelta(days=7)  # between the word that it ends and its end, where an admin ends it
REASON = "restriction (GDPR, article 18)"  # of the hold


class NotRestricted(ClofyError):
    """This account is not restricted."""

    kind = Kind.CONFLICT


async def begin(session: AsyncSession, *, account_id: UUID, now: datetime, caller: Caller = NOBODY) -> None:
    """From now on. Twice is once, and takes an announced end back. Raises NotFound."""
    account = await _locked(session, account_id)
    account.restricted_until = None
    if account.restricted_at is not None:
        return
    account.restricted_at = now
    await session.flush()
    await holds.place(session, account_id, reason=REASON, by=None, now=now, caller=caller)
    await audit.note(session, Action.RESTRICTED, account_id=account_id, caller=caller)


async def end(session: AsyncSession, *, account_id: UUID, now: datetime, caller: Caller = NOBODY) -> None:
    """By its owner, or once its announced end has come. Raises NotFound, NotRestricted."""
    account = await _locked(session, account_id)
    if account.restricted_at is None:
        raise NotRestricted(account=account_id)
    account.restricted_at = account.restricted_until = None
    await session.flush()
    for hold in await holds.listed(session, account_id):
        if hold.reason == REASON:
            await holds.lift(session, hold.id, by=None, now=now, caller=caller)
    await audit.note(session, Action.RESTRICTION_ENDED, account_id=account_id, caller=caller)


async def announce_end(
    session: AsyncSession, *, account_id: UUID, reason: str, now: datetime, by: UUID, caller: Caller = NOBODY
) -> datetime:
    """Tell its owner that it ends, and why; returns when. Said again, it is the time that was said first.

    Raises NotFound, NotRestricted.
    """
    account = await _locked(session, account_id)
    if account.restricted_at is None:
        raise NotRestricted(account=account_id)
    if account.restricted_until is not None:
        return account.restricted_until
    account.restricted_until = now + NOTICE
    await session.flush()
    ends = f"{account.restricted_until.astimezone(UTC):%-d %B %Y, %H:%M} UTC"
    words = (
        f"You had asked us to keep your data and to do nothing else with it. We end that on {ends}. Why: {reason}\n\n"
        "If you disagree, answer this mail or ask for a restriction again before that."
    )
    await deliveries.send(
        session,
        key=f"restriction_ends:{account_id}:{now.isoformat()}",
        account_id=account_id,
        recipient=account.email,
        template="privacy_request",
        facts={
            "name": account.name,
            "title": "A restriction of your data is to end",
            "text": words,
            "asked_on": f"{account.restricted_at.astimezone(UTC):%-d %B %Y}",
        },
    )
    action, facts = Action.RESTRICTION_END_ANNOUNCED, {"reason": reason}
    await audit.note(session, action, account_id=account_id, actor_id=by, caller=caller, facts=facts)
    return account.restricted_until


async def end_due(session: AsyncSession, *, now: datetime) -> int:
    """End those whose announced end has come; how many."""
    due = (Account.restricted_at.is_not(None), Account.restricted_until <= now)
    accounts = (await session.scalars(select(Account.id).where(*due))).all()
    for account_id in accounts:
        await end(session, account_id=account_id, now=now)
    return len(accounts)


@dataclass(frozen=True)
class Standing:
    """until: its announced end, if an admin announced one"""

    since: datetime
    until: datetime | None


async def standing(session: AsyncSession, account_id: UUID) -> Standing | None:
    """None: the account is not restricted."""
    query = select(Account.restricted_at, Account.restricted_until).where(Account.id == account_id)
    row = (await session.execute(query)).one_or_none()
    return Standing(row.restricted_at, row.restricted_until) if row and row.restricted_at else None


async def _locked(session: AsyncSession, account_id: UUID) -> Account:
    account = await session.get(Account, account_id, with_for_update=True, populate_existing=True)
    if account is None:
        raise NotFound(account=account_id)
    return account
