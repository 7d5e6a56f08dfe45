"""kill -9 of the worker at every step of crediting: the next worker brings it to the same end."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from core.billing import stripe_events
from core.billing.models import Purchase
from core.database import transaction
from core.jobs import Job, JobState
from sandbox.processes import Child
from tests.core.billing.kit import Effects, balance_mc, effects, events_kept, jobs_with_key, make_event, make_paid
from tests.house import MODULE, ROOT, House

STEPS = range(1, 10)  # faults.py says what each is
FLAGS = "worker -P threads -c 1 -Q billing -n faults@%h --without-gossip --without-mingle"
WRITTEN = Effects(state="paid", balance_mc=500_000, entries=1, receipts=1)
NOTHING = Effects(state="open", balance_mc=0, entries=0, receipts=0)


@pytest.fixture
def worker(house: House, tmp_path: Path) -> Iterator[Child]:
    """Of the product, with faults where CLOFY_TEST_FAULTS says so."""
    child = Child(
        "faults",
        [*MODULE, "celery", "-A", "tests.workers.faults", *FLAGS.split()],
        log=tmp_path / "faults.log",
        directory=ROOT,
    )
    yield child
    child.stop()


async def killed(worker: Child) -> bool:
    """Wait for its death; whether it was by the signal."""
    deadline = time.monotonic() + 60
    while worker.running:
        assert time.monotonic() < deadline, worker.last_words(20)
        await asyncio.sleep(0.05)
    assert worker.process is not None
    return worker.process.returncode == -signal.SIGKILL


async def let_leases_run_out(jobs: list[UUID]) -> None:
    async with transaction() as session:
        held = update(Job).where(Job.id.in_(jobs), Job.state == JobState.RUNNING)
        await session.execute(held.values(lease_until=Job.created_at))


async def until_done(jobs: list[UUID], worker: Child) -> None:
    deadline = time.monotonic() + 60
    while True:
        async with transaction() as session:
            states = [(await session.get_one(Job, job_id)).state for job_id in jobs]
        if set(states) == {JobState.DONE}:
            return
        assert time.monotonic() < deadline, (states, worker.last_words(20))
        await asyncio.sleep(0.1)


async def test_a_worker_killed_at_any_step_of_crediting_leaves_the_same_end(house: House, worker: Child) -> None:
    sold = [await make_paid() for _ in STEPS]
    events: list[dict[str, Any]] = [make_event(checkout.id) for _, checkout in sold]
    faults = {event["id"]: step for event, step in zip(events, STEPS, strict=True)}
    worker.environ = house.environ | {
        "CLOFY_TEST_FAULTS": json.dumps(faults),
        "CLOFY_ALIVE_FILE": f"{worker.log}.alive",
    }
    jobs: list[UUID] = []
    purchase: Purchase

    for (purchase, _), event, step in zip(sold, events, STEPS, strict=True):
        async with transaction() as session:
            await stripe_events.record(session, event)
        jobs += [job.id for job in await jobs_with_key(f"stripe:{event['id']}")]
        worker.start()
        assert await killed(worker), worker.how_it_ended()
        committed = step == 9
        assert await effects(purchase) == (WRITTEN if committed else NOTHING), step

    await let_leases_run_out(jobs)
    worker.start()
    await until_done(jobs, worker)

    for (purchase, _), event in zip(sold, events, strict=True):
        assert await effects(purchase) == WRITTEN
        assert await balance_mc(purchase) == 500_000
        [kept] = await events_kept(event["id"])
        assert kept.outcome == "credited"
