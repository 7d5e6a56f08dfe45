"""An operator sees what the purge did, and stops it for an account."""

import subprocess
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text

from core.accounts.models import Account
from core.database import transaction
from core.privacy import holds, purge
from core.privacy.purge_models import PurgeReceipt
from tests.house import MODULE, ROOT, House


def cli(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, "cli", *words], cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("storage")
async def test_receipts_are_listed_and_one_that_is_changed_is_told(house: House) -> None:
    async with transaction() as session:
        await session.execute(delete(PurgeReceipt))
        await session.execute(text("insert into limit_counts (key, forget_at) values ('old', '2009-01-01')"))
    await purge.run(now=datetime(2009, 2, 1, tzinfo=UTC))

    whole = cli(house, "purge", "receipts")
    async with transaction() as session:
        await session.execute(text("update purge_receipts set gone = '[]' where data_class = 'log'"))
    changed = cli(house, "purge", "receipts")
    async with transaction() as session:
        await session.execute(delete(PurgeReceipt))

    assert whole.returncode == 0, whole.stderr
    assert "\tlog\tlimit_counts: 1\n" in whole.stdout
    assert whole.stdout.endswith("receipts, all whole\n")
    assert changed.returncode == 1
    assert ": was changed\n" in changed.stdout


async def test_a_hold_is_placed_listed_and_lifted(house: House, account_id: UUID) -> None:
    async with transaction() as session:
        email = await session.scalar(select(Account.email).where(Account.id == account_id))
    assert email is not None

    placed = cli(house, "holds", "place", email, "--reason", "a court asks")
    hold = placed.stdout.splitlines()[-1]
    listed = cli(house, "holds", "list")
    async with transaction() as session:
        assert await holds.held(session, account_id)
    lifted = cli(house, "holds", "lift", hold)
    again = cli(house, "holds", "lift", hold)

    assert f"{hold}\t{account_id}\t" in listed.stdout
    assert "a court asks" in listed.stdout
    assert lifted.returncode == 0, lifted.stderr
    assert (again.returncode, "not-found" in again.stderr) == (1, True)
    async with transaction() as session:
        assert not await holds.held(session, account_id)
