import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update

from core import claims, jobs
from core.claims import Claimed, LostClaim
from core.database import transaction
from core.errors import NotFound
from core.jobs import Job, JobState
from core.queue import POLICIES, TaskName
from tests.house import House

TASK = TaskName.RENDER_ANEW  # one without a hook: nothing else is to happen here


@pytest.fixture(autouse=True)
async def _alone(house: House) -> None:
    async with transaction() as session:
        await session.execute(text("delete from jobs"))


async def make_job(account_id: UUID | None = None, **facts: Any) -> UUID:
    async with transaction() as session:
        made = await jobs.enqueue(session, TASK, payload={}, account_id=account_id, **facts)
    assert made is not None
    return made


async def row(job_id: UUID) -> Job:
    async with transaction() as session:
        return await session.get_one(Job, job_id)


async def change(job_id: UUID, **values: Any) -> None:
    async with transaction() as session:
        await session.execute(update(Job).where(Job.id == job_id).values(**values))


async def claimed(job_id: UUID) -> Claimed:
    one = await claims.claim(job_id)
    assert one is not None
    return one


async def lose_lease(job_id: UUID) -> None:
    await change(job_id, lease_until=func.now() - timedelta(seconds=1))


async def test_a_job_is_rolled_back_with_its_cause() -> None:
    job_id = uuid4()

    async def fail() -> None:
        async with transaction() as session:
            await jobs.enqueue(session, TASK, payload={}, job_id=job_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with transaction() as session:
        assert await session.get(Job, job_id) is None


async def test_a_key_makes_one_job_however_many_ask_at_once() -> None:
    async def ask() -> UUID | None:
        async with transaction() as session:
            return await jobs.enqueue(session, TASK, payload={}, key="the one")

    made = await asyncio.gather(*[ask() for _ in range(20)])

    assert len([one for one in made if one is not None]) == 1


async def test_of_twenty_doubled_messages_one_claims() -> None:
    job_id = await make_job()

    taken = await asyncio.gather(*[claims.claim(job_id) for _ in range(20)])

    assert len([one for one in taken if one is not None]) == 1


async def test_a_job_that_is_to_wait_is_not_claimed_before_its_time() -> None:
    job_id = await make_job(delay=timedelta(minutes=1))

    assert await claims.claim(job_id) is None
    await change(job_id, available_at=func.now())
    assert await claims.claim(job_id) is not None


async def test_an_attempt_that_lost_its_lease_writes_nothing_more() -> None:
    job_id = await make_job()
    old = await claimed(job_id)
    await lose_lease(job_id)
    new = await claimed(job_id)

    with pytest.raises(LostClaim):
        async with transaction() as session:
            await claims.finish(session, old, {"by": "old"})
    async with transaction() as session:
        await claims.finish(session, new, {"by": "new"})

    assert (await row(job_id)).result == {"by": "new"}
    assert (old.attempts, new.attempts) == (1, 2)


async def test_a_job_is_finished_once() -> None:
    job_id = await make_job()
    mine = await claimed(job_id)
    async with transaction() as session:
        await claims.finish(session, mine, None)

    with pytest.raises(LostClaim):
        async with transaction() as session:
            await claims.finish(session, mine, None)
    assert await claims.claim(job_id) is None


async def test_a_heartbeat_renews_what_is_ours_and_tells_what_is_not() -> None:
    kept, lost, stopped = [await claimed(await make_job()) for _ in range(3)]
    await change(lost.id, claim=uuid4())
    await change(stopped.id, cancel_requested_at=func.now())
    await lose_lease(kept.id)

    ours = await claims.heartbeat([kept, lost, stopped])

    assert ours == {kept.id: False, stopped.id: True}
    assert await claims.claim(kept.id) is None  # the lease is good again


async def test_back_off_doubles_up_to_its_cap_and_ends_with_the_attempts() -> None:
    job_id = await make_job()
    await change(job_id, backoff=10, backoff_cap=25, max_attempts=4)
    waits = []
    for _ in range(4):
        mine = await claimed(job_id)
        async with transaction() as session:
            waits.append(await claims.put_back(session, mine, "busy", wait=None))
        await change(job_id, available_at=func.now())

    assert waits[3] is None
    for wait, expected in zip(waits, (10, 20, 25), strict=False):
        assert wait is not None
        assert 0.75 * expected <= wait <= 1.25 * expected
    assert (await row(job_id)).state == JobState.RUNNING  # the caller gives it up


async def test_a_wait_that_the_other_side_asked_for_is_kept() -> None:
    mine = await claimed(await make_job())

    async with transaction() as session:
        assert await claims.put_back(session, mine, "busy", wait=120) == 120


async def test_a_job_that_is_handed_over_has_not_used_up_its_attempt() -> None:
    job_id = await make_job()
    mine = await claimed(job_id)

    async with transaction() as session:
        await claims.hand_over(session, mine)

    again = await row(job_id)
    assert again.state == JobState.QUEUED
    assert again.max_attempts - again.attempts == POLICIES[TASK].attempts


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(account_id: UUID) -> None:
    waiting, running = await make_job(account_id), await make_job(account_id)
    mine = await claimed(running)

    async with transaction() as session:
        await jobs.cancel(session, waiting, account_id=account_id)
        await jobs.cancel(session, running, account_id=account_id)

    assert (await row(waiting)).state == JobState.CANCELLED
    assert (await row(running)).state == JobState.RUNNING
    assert await claims.heartbeat([mine]) == {running: True}
    assert await claims.claim(waiting) is None


async def test_anothers_job_is_not_there(account_id: UUID) -> None:
    job_id = await make_job(account_id)

    for call in (jobs.get, jobs.cancel):
        with pytest.raises(NotFound):
            async with transaction() as session:
                await call(session, job_id, account_id=uuid4())


async def test_a_waiting_job_is_rung_again_less_and_less_often() -> None:
    job_id = await make_job()
    assert await claims.ring_due() == 0  # its enqueuer has just rung

    waits = []
    for _ in range(5):
        await change(job_id, ring_at=func.now())
        assert await claims.ring_due() == 1
        async with transaction() as session:
            waits.append(await session.scalar(select(func.extract("epoch", Job.ring_at - func.now()))))

    assert [round(float(wait)) for wait in waits] == [5, 20, 80, 320, 600]  # type: ignore[arg-type]


async def test_what_redis_did_not_take_is_rung_again_at_once(house: House) -> None:
    job_id = await make_job()
    await change(job_id, ring_at=func.now())
    house.valkey.stop()
    try:
        assert await claims.ring_due() == 1
    finally:
        house.valkey.start()

    job = await row(job_id)
    assert job.rings == 0
    async with transaction() as session:
        wait = await session.scalar(select(func.extract("epoch", Job.ring_at - func.now())).where(Job.id == job_id))
    assert float(wait or 0) <= 1


async def test_an_abandoned_job_is_taken_back() -> None:
    job_id = await make_job()
    await claimed(job_id)
    assert await claims.take_back_abandoned() == []
    await lose_lease(job_id)

    assert await claims.take_back_abandoned() == []

    assert (await row(job_id)).state == JobState.QUEUED
    assert (await claimed(job_id)).attempts == 2


async def test_a_job_that_kills_its_worker_each_time_is_given_up_and_kept() -> None:
    job_id = await make_job()
    for _ in range(POLICIES[TASK].attempts):
        await claimed(job_id)
        await lose_lease(job_id)

    assert await claims.claim(job_id) is None
    ended = await claims.take_back_abandoned()

    assert [job.id for job in ended] == [job_id]
    job = await row(job_id)
    assert (job.state, job.dead, job.error) == (JobState.FAILED, True, "worker-lost")


async def test_an_operator_can_queue_a_dead_job_again() -> None:
    job_id = await make_job()
    mine = await claimed(job_id)
    async with transaction() as session:
        await claims.give_up(session, mine, JobState.FAILED, "internal", dead=True)

    async with transaction() as session:
        await jobs.requeue_dead(session, job_id)

    assert (await claimed(job_id)).attempts == 3  # 2 was the number of the end in its stream
    with pytest.raises(jobs.NotDead):
        async with transaction() as session:
            await jobs.requeue_dead(session, job_id)
