"""What was done is written down once, and stays as it was written."""

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.audit import Action, Caller, Outcome

CALLER = Caller(ip="203.0.113.7", user_agent="Firefox", request_id="abc")


async def test_an_entry_says_who_what_and_from_where(session: AsyncSession, account_id: UUID) -> None:
    await audit.note(session, Action.SIGNED_IN, account_id=account_id, caller=CALLER, about="session:1")
    await audit.note(session, Action.SECOND_FACTOR, account_id=account_id, caller=CALLER, outcome=Outcome.REFUSED)

    refused, done = await audit.history(session, account_id=account_id)
    assert (done.action, done.object, done.outcome, done.actor_id) == ("signed_in", "session:1", "done", account_id)
    assert (done.ip, done.user_agent, done.request_id) == ("203.0.113.7", "Firefox", "abc")
    assert (refused.action, refused.outcome, refused.actor_id) == ("second_factor", "refused", None)


async def test_history_is_read_page_by_page(session: AsyncSession, account_id: UUID) -> None:
    for number in range(5):
        await audit.note(session, Action.SIGNED_OUT, account_id=account_id, about=str(number))

    first = await audit.history(session, account_id=account_id, limit=3)
    rest = await audit.history(session, account_id=account_id, before=first[-1].id, limit=3)

    assert [entry.object for entry in [*first, *rest]] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    "change",
    [
        "update audit_entries set outcome = 'refused' where account_id = :id",
        "delete from audit_entries where account_id = :id",
        "truncate audit_entries",
    ],
)
async def test_an_entry_is_neither_changed_nor_deleted(session: AsyncSession, account_id: UUID, change: str) -> None:
    await audit.note(session, Action.SIGNED_IN, account_id=account_id)

    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text(change), {"id": account_id} if ":id" in change else {})
