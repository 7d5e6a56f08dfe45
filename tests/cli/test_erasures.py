"""What an operator sees of the accounts that are to be erased."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cli import erasures
from core.database import transaction
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
