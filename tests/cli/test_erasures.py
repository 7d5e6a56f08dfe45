"""What an operator sees of the accounts that are to be erased."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from cli import erasures
from core.accounts.models import Account
from core.database import transaction
from core.errors import NotFound
from core.mail.models import Delivery
from core.privacy import erasure


@pytest.mark.parametrize(
    ("asked_ago", "seen_in"),
    [
        (timedelta(days=1), {"list"}),
        (timedelta(days=7, minutes=1), {"list", "due"}),
        (timedelta(days=8, minutes=1), {"list", "due", "stuck"}),
    ],
)
async def test_each_list_has_what_its_name_says(
    account_id: UUID, asked_ago: timedelta, seen_in: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with transaction() as session:
        await erasure.begin(session, account_id=account_id, now=datetime.now(UTC) - asked_ago)

    seen = set()
    for which in ("list", "due", "stuck"):
        await erasures.show(which)
        if str(account_id) in capsys.readouterr().out:
            seen.add(which)

    assert seen == seen_in


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_childs_account_is_due_at_once_and_nobody_is_written_to(
    account_id: UUID, *, asked_before: bool
) -> None:
    async with transaction() as session:
        email = await session.scalar(select(Account.email).where(Account.id == account_id))
        if asked_before:
            await erasure.begin(session, account_id=account_id, now=datetime.now(UTC))
    assert email is not None

    await erasures.begin_for_child(email)

    async with transaction() as session:
        begun = await erasure.standing(session, account_id)
        mails = await session.scalar(select(func.count()).where(Delivery.account_id == account_id))
    assert begun is not None
    assert begun.due_at <= datetime.now(UTC)
    assert mails == int(asked_before)


async def test_a_child_that_has_no_account_is_not_there(house: object) -> None:
    with pytest.raises(NotFound):
        await erasures.begin_for_child("nobody@people.example")
