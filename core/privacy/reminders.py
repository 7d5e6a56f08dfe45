"""Nobody's request is forgotten: admins are told before each due date, and every hour of what is late."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.mail import deliveries
from core.privacy import clocks, requests
from core.privacy.request_models import UNFINISHED, PrivacyRequest, State
from core.privacy.requests_by_mail import NOT_PROVEN

GDPR, CCPA = "GDPR", "CCPA"


@dataclass(frozen=True)
class Reminder:
    """A request whose date comes near, by one of its clocks. days: until it, below 0 once it is late."""

    request_id: UUID
    kind: str
    clock: str
    due: date
    days: int

    @property
    def mark(self) -> str:
        """Which word to admins this is; each is said once."""
        return "late" if self.days < 0 else str(min(mark for mark in clocks.REMINDED if self.days <= mark))

    @property
    def when(self) -> str:
        if self.days < 0:
            return "is late"
        return "is due today" if not self.days else f"is due in {self.days} {'day' if self.days == 1 else 'days'}"


async def due(session: AsyncSession, *, now: datetime) -> list[Reminder]:
    """What is to be said today, the most urgent first."""
    today = clocks.day_of(now)
    query = select(PrivacyRequest).where(PrivacyRequest.state.in_(UNFINISHED))
    found = [
        Reminder(row.id, row.kind, clock, last_day, (last_day - today).days)
        for row in await session.scalars(query)
        for clock, last_day in ((GDPR, row.gdpr_due), (CCPA, row.ccpa_due))
    ]
    return sorted((one for one in found if one.days <= max(clocks.REMINDED)), key=lambda one: (one.days, one.clock))


async def remind(session: AsyncSession, *, now: datetime) -> tuple[list[Reminder], list[Reminder]]:
    """Write to all admins, once for each mark of each date. Returns what was said now for the first time, and what is
    late, said before or not.
    """
    found = await due(session, now=now)
    admins = await profile.admins(session)
    said = []
    for one in found:
        new = [
            await deliveries.send(
                session,
                key=f"privacy_due:{one.request_id}:{one.clock}:{one.due}:{one.mark}:{admin.id}",
                account_id=admin.id,
                recipient=admin.email,
                template="privacy_due",
                facts={
                    "name": admin.name,
                    "what": one.kind.replace("_", " "),
                    "when": one.when,
                    "due": requests.shown(one.due),
                    "clock": one.clock,
                    "request": str(one.request_id),
                },
            )
            for admin in admins
        ]
        if any(new) or not admins:
            said.append(one)
    return said, [one for one in found if one.days < 0]


async def close_unproven(session: AsyncSession, *, now: datetime) -> int:
    """On its last day, end what nobody has confirmed. Whoever sent the mail is told nothing. Returns how many."""
    today = clocks.day_of(now)
    waiting = (PrivacyRequest.state == State.WAITING_FOR_IDENTITY, PrivacyRequest.gdpr_due <= today)
    found = (await session.scalars(select(PrivacyRequest.id).where(*waiting))).all()
    for request_id in found:
        await requests.close(session, request_id, outcome=State.REFUSED, basis=NOT_PROVEN, now=now)
    return len(found)
