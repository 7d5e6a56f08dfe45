"""The job that issues a receipt, as a worker runs it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import select

from core.billing import receipts
from core.billing.models import Receipt
from core.database import transaction
from core.jobs import Job, JobState
from core.queue import TaskName
from tests.core.billing.kit import jobs_with_key
from tests.core.billing.test_receipts import make_sold, numbers
from tests.house import House
from tests.workers.here import Here


@pytest.fixture
async def here(house: House) -> AsyncIterator[Here]:
    async with Here.open() as made:
        yield made


async def attempt(here: Here, job_id: UUID) -> None:
    from workers import receipts as tasks  # its Celery application reads the settings that `house` has set

    assert tasks.issue_receipt.name == TaskName.ISSUE_RECEIPT
    await here.attempt(TaskName.ISSUE_RECEIPT, job_id)


async def issue_later(purchase_id: UUID) -> UUID:
    async with transaction() as session:
        await receipts.issue_later(session, purchase_id)
    [job] = await jobs_with_key(f"receipt:{purchase_id}")
    return job.id


async def number_of(purchase_id: UUID) -> int | None:
    async with transaction() as session:
        return await session.scalar(select(Receipt.number).where(Receipt.purchase_id == purchase_id))


async def job_of(job_id: UUID) -> Job:
    async with transaction() as session:
        return await session.get_one(Job, job_id)


async def test_twenty_jobs_at_once_each_rung_twice_leave_no_gap(here: Here) -> None:
    _, before = await numbers()
    sold = [await make_sold() for _ in range(20)]
    jobs = [await issue_later(purchase_id) for purchase_id in sold]

    await asyncio.gather(*(attempt(here, job_id) for job_id in jobs + jobs))

    given = [await number_of(purchase_id) for purchase_id in sold]
    assert sorted(cast("list[int]", given)) == list(range(before + 1, before + 21))
    for job_id, number in zip(jobs, given, strict=True):
        job = await job_of(job_id)
        assert (job.state, job.result) == (JobState.DONE, {"receipt": number})


async def test_an_attempt_that_lost_its_job_gives_the_number_back(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = await numbers()
    purchase_id = await make_sold()
    job_id = await issue_later(purchase_id)
    issue = receipts.issue

    async def and_lose(session: Any, purchase_id: UUID) -> int:
        job = await session.get_one(Job, job_id, with_for_update=True)
        job.claim = purchase_id  # as another attempt's
        await session.flush()
        return await issue(session, purchase_id)

    monkeypatch.setattr(receipts, "issue", and_lose)
    await attempt(here, job_id)

    assert await number_of(purchase_id) is None
    assert (await numbers())[1] == before
