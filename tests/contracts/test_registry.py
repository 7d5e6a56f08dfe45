"""Nothing is kept that core/privacy does not know; what somebody adds without a class is told."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.media.blobs import Room
from core.privacy.completeness import faults
from tests.contracts.test_docs import targets
from tests.house import MODULE, ROOT, House


async def test_all_that_is_kept_is_listed_and_fits_together(session: AsyncSession) -> None:
    assert await faults(session) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("alter table accounts add shoe_size int", "accounts.shoe_size: a column that has no class"),
        ("create table visits (id int)", "visits: a table that has no class"),
        ("create schema attic; create table attic.visits (id int)", "attic.visits: a table that has no class"),
        ("create materialized view names as select name from accounts", "names: a table that has no class"),
        ("create table more_jobs () inherits (jobs)", "more_jobs: a table that has no class"),
        ("alter table notices drop kind", "notices.kind: is listed, and there is no such column"),
        (
            "alter table accounts add constraint a foreign key (id) references web_sessions (id) not valid",
            "accounts: is listed before web_sessions, to which it points",
        ),
        (
            "alter table announcements add constraint a foreign key (made_by) references accounts (id)",
            "announcements: names an account, and has no owner",
        ),
        ("drop index ix_audit_entries_at", "audit_entries.at: is counted from, and has no index"),
        (
            "alter table mail_deliveries alter created_at type text",
            "mail_deliveries.created_at: is no moment from which a term can be counted",
        ),
        (
            "alter table post_comments rename state to its_state",
            'post_comments: column "state" does not exist',
        ),
    ],
)
async def test_what_somebody_adds_or_breaks_is_told(session: AsyncSession, change: str, fault: str) -> None:
    for statement in change.split("; "):
        await session.execute(text(statement))

    assert fault in await faults(session)


async def test_a_container_that_nobody_lists_is_told(session: AsyncSession) -> None:
    assert await faults(session, rooms=[*Room, "attic"]) == ["attic: a container that has no class"]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import redis\nKEY = 'seen:'", "seen:: a key of Redis that has no class"),
        (
            "async def keep(redis, one):\n    await redis.set(f'seen:{one}', 1)",
            "seen:: a key of Redis that has no class",
        ),
        ("async def keep(redis):\n    await redis.incr('visits')", "visits: a key of Redis that has no class"),
        (
            "SEEN = 'visits'\nasync def keep(redis):\n    redis.sadd(SEEN, 1)",
            "visits: a key of Redis that has no class",
        ),
        ("def room(service):\n    service.create_container('attic')", "attic: a container that is no Room"),
    ],
)
async def test_code_that_names_a_place_of_its_own_is_told(
    session: AsyncSession, tmp_path: Path, code: str, fault: str
) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "news.py").write_text(code)

    assert any(one.endswith(fault) for one in await faults(session, root=tmp_path))


async def test_make_check_fails_by_it(house: House) -> None:
    command = [*MODULE, "core.privacy.completeness"]
    assert " ".join(command[1:]) in targets()["check"]
    async with transaction() as one:
        await one.execute(text("create table visits (id int)"))
    try:
        ended = subprocess.run(command, cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False)
    finally:
        async with transaction() as one:
            await one.execute(text("drop table visits"))

    assert (ended.returncode, ended.stderr) == (1, "visits: a table that has no class\n")
