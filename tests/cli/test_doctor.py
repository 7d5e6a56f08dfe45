"""The doctor finds what is wrong, says which, and lets the rest be checked."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, text, update

from cli import doctor
from core import jobs
from core.billing.models import Purchase, Reconciliation
from core.database import transaction
from core.jobs import Job
from core.queue import TaskName
from core.settings import settings
from tests.core.billing.kit import make_credited, make_purchase
from tests.house import MODULE, ROOT, House

FREE = "what is free is what the lots have left"
DEAD = "no job was given up more than a day ago"
COMPARED = "Stripe's books were compared with ours within three hours"


@asynccontextmanager
async def moved(account_id: UUID, change_mc: int) -> AsyncIterator[None]:
    """One lot says that so much more of it was spent; right again at the end."""
    move = text("update credit_lots set spent_mc = spent_mc + :mc, left_mc = left_mc - :mc where account_id = :id")
    async with transaction() as session:
        await session.execute(move, {"mc": change_mc, "id": account_id})
    try:
        yield
    finally:
        async with transaction() as session:
            await session.execute(move, {"mc": -change_mc, "id": account_id})


async def test_in_a_good_house_it_finds_nothing(rich_id: UUID) -> None:
    said = await doctor.examine()

    assert said["PostgreSQL answers"] == said["Redis answers"] == said["the migrations are at the code's"] == []
    assert said[FREE] == []
    assert len(said) > 12


async def test_a_lot_that_does_not_add_up_is_a_finding_with_its_account(house: House, rich_id: UUID) -> None:
    async with moved(rich_id, 1):
        ended = subprocess.run(
            [*MODULE, "cli", "doctor"], cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False
        )

    lines = [line for line in ended.stdout.splitlines() if str(rich_id) in line]
    assert ended.returncode == 1, ended.stderr
    assert f"WRONG\t{FREE}\taccount {rich_id}: 1000000 mc are kept, 999999 mc expected" in lines
    assert "ok\tPostgreSQL answers" in ended.stdout


async def test_a_purchase_that_does_not_add_up_is_a_finding_too(house: House) -> None:
    purchase, _ = await make_credited()
    spoil = update(Purchase).where(Purchase.id == purchase.id)
    async with transaction() as session:
        await session.execute(spoil.values(reversed_minor=1))
    try:
        said = await doctor.examine()
    finally:
        async with transaction() as session:
            await session.execute(spoil.values(reversed_minor=0))

    mine = {rule for rule, found in said.items() if any(str(purchase.account_id) in line for line in found)}
    assert mine == {
        "of a purchase's lot just so much is taken back as of its price",
        "of a purchase's price just so much is taken back as its refunds and disputes come to",
    }


async def test_a_job_that_lies_dead_is_a_finding(account_id: UUID) -> None:
    async with transaction() as session:
        job_id = await jobs.enqueue(session, TaskName.RENDER_ANEW, payload={}, delay=timedelta(hours=1))
        dead = update(Job).where(Job.id == job_id)
        long_ago = func.now() - timedelta(days=2)
        await session.execute(dead.values(state="failed", dead=True, finished_at=long_ago))
    try:
        assert (await doctor.examine())[DEAD] == ["1 of blog.render_anew: python -m cli jobs dead"]
    finally:
        async with transaction() as session:
            await session.execute(dead.values(dead=False))

    assert (await doctor.examine())[DEAD] == []


async def test_a_comparison_that_is_late_is_a_finding() -> None:
    purchase, _ = await make_purchase()
    hours = timedelta(hours=1)
    async with transaction() as session:
        sold = update(Purchase).where(Purchase.id == purchase.id)
        await session.execute(sold.values(created_at=func.now() - 4 * hours))
        await session.execute(update(Reconciliation).values(ended_at=func.now() - 4 * hours))

    assert len((await doctor.examine())[COMPARED]) == 1

    async with transaction() as session:
        session.add(Reconciliation(since=purchase.created_at, started_at=purchase.created_at, looked_at=0, healed=0,
                                   findings=[]))  # fmt: skip
    assert (await doctor.examine())[COMPARED] == []


async def test_what_cannot_be_checked_is_a_finding_and_the_rest_is_checked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings().model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    monkeypatch.setattr(doctor, "settings", lambda: away)

    said = await doctor.examine()

    assert said["Redis answers"] == ["could not be checked: ConnectionError"]
    assert said["PostgreSQL answers"] == []


async def test_money_that_is_wrong_is_told_by_beats_hourly_check(
    house: House, rich_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    from workers import runtime, upkeep

    told: list[dict[str, object]] = []
    async with moved(rich_id, 7):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(upkeep.logger, "error", lambda event, **facts: told.append({"event": event, **facts}))
            done = await runtime.TASKS[TaskName.CHECK_LEDGER].body(None)  # type: ignore[arg-type]  # it asks nothing of it

    mine = [facts for facts in told if facts["account"] == str(rich_id)]
    assert {facts["event"] for facts in mine} == {"ledger_violation"}
    assert FREE in {facts["rule"] for facts in mine}
    assert done is not None
    assert done["violations"] == len(told) >= 1


@pytest.mark.parametrize("refused", [False, True])
def test_a_test_mail_shows_whether_mails_go_out(house: House, refused: bool) -> None:
    recipient = f"{uuid4().hex}@people.example"
    house.control(mail={"refuse_recipients": [recipient] if refused else []})

    ended = subprocess.run(
        [*MODULE, "cli", "doctor", "--mail", recipient],
        cwd=ROOT,
        env=house.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    house.control(mail={"refuse_recipients": []})
    line = next(line for line in ended.stdout.splitlines() if recipient in line)
    taken = httpx.get(f"{house.standins.url}/mail", params={"to": recipient}).json()
    assert line.startswith("WRONG" if refused else "ok"), ended.stderr
    assert ("mail-refused" in line) == refused
    assert [mail["subject"] for mail in taken] == ([] if refused else ["A test mail"])
