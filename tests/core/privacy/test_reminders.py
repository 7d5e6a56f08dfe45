"""Admins are told before each due date, once for each mark; what nobody confirmed ends on its last day."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Role
from core.mail.models import Delivery
from core.privacy import reminders, requests, requests_by_mail
from core.privacy.reminders import Reminder
from core.privacy.request_models import PrivacyRequest, RequestKind, State, Via
from tests.makers import make_account

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)  # due on 28 February by GDPR, on 17 March by CCPA
DUE = datetime(2026, 2, 28, 12, tzinfo=UTC)


@pytest.fixture
async def admin_id(session: AsyncSession) -> UUID:
    """The only one; undone at the end."""
    await session.execute(update(Account).values(role=Role.USER))
    await session.execute(
        update(PrivacyRequest).where(PrivacyRequest.closed_at.is_(None)).values(state="answered", closed_at=NOON)
    )
    return await make_account(session, role=Role.ADMIN)


async def make_request(session: AsyncSession, account_id: UUID) -> PrivacyRequest:
    kind = RequestKind.CORRECTION
    return await requests.file(session, account_id=account_id, kind=kind, via=Via.ACCOUNT, now=NOON)


async def said(session: AsyncSession, now: datetime) -> list[tuple[str, str]]:
    return [(one.clock, one.when) for one in (await reminders.remind(session, now=now))[0]]


async def test_each_mark_of_each_clock_is_said_once(session: AsyncSession, account_id: UUID, admin_id: UUID) -> None:
    row = await make_request(session, account_id)
    told = {}
    for day in range(60):
        now = NOON + timedelta(days=day)
        for _ in range(2):  # two beats
            if new := await said(session, now):
                told[now.date().isoformat()] = new

    assert told == {
        "2026-02-18": [("GDPR", "is due in 10 days")],
        "2026-02-25": [("GDPR", "is due in 3 days")],
        "2026-03-01": [("GDPR", "is late")],
        "2026-03-07": [("CCPA", "is due in 10 days")],
        "2026-03-14": [("CCPA", "is due in 3 days")],
        "2026-03-18": [("CCPA", "is late")],
    }
    query = select(Delivery.facts).where(Delivery.account_id == admin_id)
    assert {facts["request"] for facts in await session.scalars(query)} == {str(row.id)}


async def test_a_beat_that_slept_says_the_mark_that_counts_now(
    session: AsyncSession, account_id: UUID, admin_id: UUID
) -> None:
    await make_request(session, account_id)

    assert await said(session, DUE - timedelta(days=2)) == [("GDPR", "is due in 2 days")]
    assert await said(session, DUE) == []


async def test_on_its_last_day_it_is_not_late_and_at_midnight_it_is(
    session: AsyncSession, account_id: UUID, admin_id: UUID
) -> None:
    row = await make_request(session, account_id)
    last_minute = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)

    assert await reminders.remind(session, now=last_minute) == (
        [Reminder(row.id, "correction", "GDPR", row.gdpr_due, 0)],
        [],
    )
    said_now, late = await reminders.remind(session, now=last_minute + timedelta(seconds=1))
    assert said_now == late == [Reminder(row.id, "correction", "GDPR", row.gdpr_due, -1)]
    assert await reminders.remind(session, now=last_minute + timedelta(seconds=1)) == ([], late)


async def test_what_is_answered_or_extended_is_not_reminded_of(
    session: AsyncSession, account_id: UUID, admin_id: UUID
) -> None:
    row = await make_request(session, account_id)
    await requests.extend(session, row.id, reason="There is much of it.", now=NOON, by=admin_id)
    assert await said(session, DUE) == []

    await requests.close(session, row.id, outcome=State.ANSWERED, words="Done.", now=DUE)
    assert await said(session, datetime(2027, 1, 1, tzinfo=UTC)) == []


async def test_what_nobody_confirmed_ends_on_its_last_day_and_nobody_is_told(
    session: AsyncSession, account_id: UUID, admin_id: UUID
) -> None:
    sender = f"{uuid4()}@example.com"
    row = await requests_by_mail.enter(
        session,
        sender=sender,
        about=(await session.get_one(Account, account_id)).email,
        kind=RequestKind.ERASURE,
        words="",
        received_at=NOON,
        now=NOON,
        by=admin_id,
    )

    assert await reminders.close_unproven(session, now=DUE - timedelta(days=1)) == 0
    assert await reminders.close_unproven(session, now=DUE) == 1
    assert (row.state, row.basis) == (State.REFUSED, requests_by_mail.NOT_PROVEN)
    assert len(list(await session.scalars(select(Delivery.id).where(Delivery.recipient == sender)))) == 1
