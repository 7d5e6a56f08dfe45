"""A canary is put out once a day, goes with its term like all else, and is told when it does not."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.invariants import ALL
from core.credits import invariants
from core.database import transaction
from core.privacy import canaries, purge
from core.privacy.canaries import PLANTS, SLACK
from core.privacy.purge_models import Canary
from core.privacy.registry import KINDS, DataClass
from core.privacy.tables import TABLES
from core.queue import TaskName
from tests.house import House

Alarms = Callable[[], list[dict[str, Any]]]
DAY = timedelta(days=1)
NOW = datetime(2012, 3, 1, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def _alone(house: House) -> None:
    """Of this test's own time: what others left may be as old as it likes."""
    async with transaction() as session:
        await session.execute(delete(Canary))
        await session.execute(text("select prepare_message_partitions('2012-03-01', '2012-03-01')"))


async def planted(now: datetime = NOW) -> dict[str, Canary]:
    async with transaction() as session:
        await canaries.plant(session, now=now)
        return {one.place: one for one in await session.scalars(select(Canary))}


async def looked(now: datetime) -> list[str]:
    async with transaction() as session:
        return [one.place for one in await canaries.look(session, now=now)]


async def waiting() -> set[str]:
    async with transaction() as session:
        return set(await session.scalars(select(Canary.place).where(Canary.gone_at.is_(None))))


def test_each_class_with_a_term_of_its_own_has_one() -> None:
    """Books end with their account, and blobs by the age that the storage says; both are looked at otherwise."""
    elsewhere = {DataClass.BILLING, DataClass.ARCHIVE, DataClass.SNAPSHOT}
    with_term = {kind for kind, one in KINDS.items() if one.kept is not None} - elsewhere

    assert {table.of for table in TABLES if table.name in PLANTS} == with_term


async def test_there_is_one_a_day_and_place(house: House) -> None:
    assert set(await planted()) == set(PLANTS)
    async with transaction() as session:
        assert await canaries.plant(session, now=NOW + timedelta(hours=8)) == 0
        assert await canaries.plant(session, now=NOW.replace(hour=23)) == 0


@pytest.mark.usefixtures("storage")
async def test_each_goes_with_its_term_and_nobody_is_alarmed(house: House, alarms: Alarms) -> None:
    there = await planted()
    alarms()

    for due_at in sorted({one.due_at for one in there.values()}):
        mine = {place for place, one in there.items() if one.due_at == due_at}
        await purge.run(now=due_at - timedelta(minutes=1))
        assert await looked(due_at - timedelta(minutes=1)) == []
        assert mine <= await waiting()
        await purge.run(now=due_at)
        assert await looked(due_at) == []
        assert not mine & await waiting()

    assert alarms() == []


async def test_one_that_stays_is_told_each_time(house: House, alarms: Alarms) -> None:
    there = await planted()
    due = there["kept_answers"].due_at
    alarms()

    assert await looked(due + SLACK) == []
    for _ in range(2):
        assert await looked(due + SLACK + timedelta(minutes=1)) == ["kept_answers"]
        [told] = alarms()
        assert (told["event"], told["place"]) == ("canary_overdue", "kept_answers")
    async with transaction() as session:
        assert await canaries.waiting_too_long(session, now=due + SLACK + timedelta(minutes=1)) == 1


async def test_one_that_is_gone_before_its_term_is_told_once(house: House, alarms: Alarms) -> None:
    there = await planted()
    async with transaction() as session:
        gone = text("delete from message_texts where message_id = :id")
        await session.execute(gone, {"id": there["message_texts"].id})
    alarms()

    assert await looked(NOW + DAY) == ["message_texts"]
    assert [told["event"] for told in alarms()] == ["canary_gone_early"]
    assert await looked(NOW + DAY) == []


async def test_they_are_nobodys_and_move_no_money(house: House, session: AsyncSession) -> None:
    before = await invariants.violations(session, ALL)  # what other tests have left behind
    await planted()

    found = await invariants.violations(session, ALL)
    owners = """
        select account_id from mail_deliveries where template = 'canary' and account_id is not null
        union all select account_id from audit_entries where action = 'canary' and account_id is not null
        union all select id from accounts where id in (select id from canaries)
    """
    assert set(found) == set(before)
    assert list(await session.scalars(text(owners))) == []


@pytest.mark.usefixtures("storage")
async def test_the_hourly_task_takes_what_is_due_and_puts_them_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import purge as workers_purge  # its Celery application reads the settings that `house` has set

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(workers_purge.logger, "error", lambda event, **facts: told.append({"event": event, **facts}))
    monkeypatch.setattr(workers_purge, "process", type("Process", (), {"close_at_end": lambda *_: None}))
    stuck = NOW - 2 * DAY
    async with transaction() as session:
        left = "insert into limit_counts (key, forget_at) values ('stuck', :at)"
        await session.execute(text(left), {"at": stuck})

    async with transaction() as busy:
        await busy.execute(text("select 1 from limit_counts where key = 'stuck' for update"))
        done = await workers_purge.purge_what_is_due.body(None)  # type: ignore[arg-type]  # it asks nothing of its run
    again = await workers_purge.purge_what_is_due.body(None)  # type: ignore[arg-type]

    assert workers_purge.purge_what_is_due.name == TaskName.PURGE
    assert done is not None
    assert (done["planted"], done["late"]) == (len(PLANTS), ["limit_counts"])
    assert [(one["event"], one["table"]) for one in told] == [("purge_overdue", "limit_counts")]
    assert again is not None
    assert (again["planted"], again["late"], again["gone"]["limit_counts"]) == (0, [], 1)
