"""Receipts and mails wait in lanes: beside Celery's slots, so many at a time, behind what was paid."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from core.billing import stripe_events
from core.claims import Claimed
from core.database import transaction
from core.jobs import Job, JobState
from core.mail import deliveries
from core.mail.models import Delivery
from core.queue import TaskName
from sandbox.processes import Child
from tests.core.billing.kit import jobs_with_key, make_event, make_paid
from tests.house import MODULE, ROOT, House
from workers.lanes import Lane


class Counted:
    """Work that goes on until it is let go; how many go at once is counted."""

    def __init__(self) -> None:
        self.going: list[UUID] = []
        self.done: list[UUID] = []
        self.let_go = asyncio.Event()
        self.began, self.ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def work(self, job_id: UUID) -> None:
        self.going.append(job_id)
        self.began.release()
        await self.let_go.wait()
        self.going.remove(job_id)
        self.done.append(job_id)
        self.ended.release()

    def join(self, lane: Lane, count: int) -> list[UUID]:
        ids = [uuid4() for _ in range(count)]
        for job_id in ids:
            lane.join(job_id, partial(self.work, job_id))
        return ids


async def test_so_many_go_at_once_and_all_go_in_their_order() -> None:
    lane, counted = Lane(4), Counted()
    ids = counted.join(lane, 10)
    await asyncio.sleep(0)
    assert counted.going == ids[:4]

    counted.let_go.set()
    for _ in ids:
        await counted.ended.acquire()

    assert counted.done == ids


async def test_one_goes_at_a_time_while_money_moves() -> None:
    moves = True
    lane, counted = Lane(4, behind=lambda: moves), Counted()
    ids = counted.join(lane, 10)
    await asyncio.sleep(0)
    assert counted.going == ids[:1]

    moves = False
    counted.join(lane, 1)
    await asyncio.sleep(0)

    assert counted.going == ids[:4]
    counted.let_go.set()
    await lane.settle(patience=1)


async def test_a_job_that_is_rung_again_while_it_waits_goes_once() -> None:
    lane, counted = Lane(1), Counted()
    first, second = counted.join(lane, 2)

    lane.join(second, partial(counted.work, second))

    assert lane.clear() == [second]
    counted.let_go.set()
    await lane.settle(patience=1)
    assert counted.done == [first]


async def test_who_finds_no_room_is_sent_away_and_goes_when_it_is_rung_again() -> None:
    lane, counted = Lane(1, room=2), Counted()
    first, second, third, fourth = counted.join(lane, 4)
    assert lane.clear() == [second, third]

    lane.join(fourth, partial(counted.work, fourth))
    counted.let_go.set()
    for _ in range(2):
        await counted.ended.acquire()

    assert counted.done == [first, fourth]


async def test_work_that_fails_lets_the_next_one_go() -> None:
    async def fail() -> None:
        raise ConnectionError

    lane, counted = Lane(1), Counted()
    lane.join(uuid4(), fail)
    ids = counted.join(lane, 1)

    await counted.began.acquire()
    assert counted.going == ids
    counted.let_go.set()
    await lane.settle(patience=1)


@pytest.mark.usefixtures("house")
async def test_money_moves_as_long_as_an_event_is_handled() -> None:
    from workers.process import Process  # its settings are those that `house` has set

    here = SimpleNamespace(runs={})
    claimed = Claimed(uuid4(), TaskName.HANDLE_STRIPE_EVENT, uuid4(), 1, {}, None, None)
    assert not Process._money_moves(here)  # type: ignore[arg-type]  # as far as it looks

    here.runs[claimed.claim] = SimpleNamespace(job=claimed)

    assert Process._money_moves(here)  # type: ignore[arg-type]  # as far as it looks


SLOTS = 2
FLAGS = f"worker -P threads -c {SLOTS} -Q mail,billing -n lanes@%h --without-gossip --without-mingle"


@pytest.fixture
def worker(house: House, tmp_path: Path) -> Iterator[Child]:
    log = tmp_path / "lanes.log"
    child = Child("lanes", [*MODULE, "celery", "-A", "workers.app", *FLAGS.split()], log=log, directory=ROOT)
    child.environ = house.environ | {"CLOFY_ALIVE_FILE": f"{log}.alive", "CLOFY_DRAIN_SECONDS": "1"}
    yield child
    child.stop()
    house.control(mail={"delay_ms": 0})


async def state_of(job_id: UUID) -> str:
    async with transaction() as session:
        return (await session.get_one(Job, job_id)).state


async def until(job_id: UUID, state: JobState, worker: Child) -> None:
    deadline = time.monotonic() + 30
    while await state_of(job_id) != state:
        assert time.monotonic() < deadline, worker.last_words(20)
        await asyncio.sleep(0.05)


async def test_mails_that_hang_keep_no_event_waiting_and_are_given_back_at_the_end(house: House, worker: Child) -> None:
    house.control(mail={"delay_ms": 60_000})
    keys = [f"lanes:{uuid4()}" for _ in range(4 * SLOTS)]
    async with transaction() as session:
        tomorrow = text("update jobs set available_at = now() + interval '1 day' where state = 'queued'")
        await session.execute(tomorrow)  # those of tests before this one
        for key in keys:
            facts = {"code": "012345", "email": "ada@example.com"}
            await deliveries.send(
                session, key=key, account_id=None, recipient="ada@example.com", template="sign_in_code", facts=facts
            )
    mails = [job.id for job in await all_jobs(keys)]
    _, checkout = await make_paid()
    event = make_event(checkout.id)

    worker.start()
    for mail in mails:
        await until(mail, JobState.RUNNING, worker)
    async with transaction() as session:
        await stripe_events.record(session, event)
    [handling] = await jobs_with_key(f"stripe:{event['id']}")

    await until(handling.id, JobState.DONE, worker)
    worker.stop()
    assert [await state_of(mail) for mail in mails] == [JobState.QUEUED] * len(mails)


async def all_jobs(keys: list[str]) -> list[Job]:
    """Of the mails with these keys."""
    async with transaction() as session:
        found = select(Delivery.id).where(Delivery.key.in_(keys))
        names = [f"mail:{delivery_id}" for delivery_id in await session.scalars(found)]
        return list(await session.scalars(select(Job).where(Job.key.in_(names))))
