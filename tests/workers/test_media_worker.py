"""The worker of pictures as it runs: Celery's prefork, whose parent has no loop, and whose children may die."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from core import claims
from core.database import transaction
from core.jobs import Job
from core.media import blobs, uploads
from sandbox import programs
from sandbox.azurite import Azurite
from sandbox.postgres import scratch_directory
from sandbox.processes import Child
from tests.core.media import files
from tests.house import MODULE, ROOT, House
from tests.workers.test_media import sent


@pytest.fixture
def worker(house: House, storage: Azurite) -> Iterator[Child]:
    [words] = [
        one.arguments
        for one in programs.product(web_port=1, flower_port=2, flower_password="-", directory=Path("/"))
        if one.name == "worker-media"
    ]
    with scratch_directory() as directory:
        child = Child("media", [*MODULE, *words], log=directory / "media.log", environ=house.environ, directory=ROOT)
        yield child
        child.stop(seconds=20)


async def asked(account_id: UUID, content: bytes, name: str = "a.png") -> UUID:
    media = await sent(account_id, content, name=name)
    async with transaction() as session:
        job_id = await uploads.complete(session, media.id, account_id=account_id)
    await blobs.close()
    return job_id


async def until(job_id: UUID, *states: str, seconds: float = 60) -> Job:
    deadline = time.monotonic() + seconds
    while True:
        async with transaction() as session:
            job = await session.get_one(Job, job_id)
        if job.state in states:
            return job
        assert time.monotonic() < deadline, (job.state, job.error)
        await asyncio.sleep(0.1)  # another process's work, which has no event here


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.timeout(300)  # several pictures are worked on, one of them twice
async def test_pictures_are_made_by_children_and_one_that_dies_is_replaced(
    house: House, account_id: UUID, worker: Child
) -> None:
    noise = files.saved(files.drawn(size=(5000, 5000)).effect_spread(40), "PNG")
    await asyncio.to_thread(worker.start)
    first = await asked(account_id, files.saved(files.drawn(), "PNG"))
    assert (await until(first, "done")).result is not None

    second = await asked(account_id, noise)
    await until(second, "running")
    for child in children_of(worker.pid):
        os.kill(child, signal.SIGKILL)
    third = await asked(account_id, files.saved(files.drawn("L"), "PNG"))
    assert (await until(third, "done", seconds=90)).attempts == 1  # the parent has new children

    async with transaction() as session:
        (await session.get_one(Job, second)).lease_until = (await session.get_one(Job, first)).created_at
    await claims.take_back_abandoned()
    await claims.ring_due()
    again = await until(second, "done", seconds=110)
    assert again.attempts == 2
    assert again.result is not None
    assert again.result["state"] == "ready"


@pytest.mark.timeout(200)
async def test_a_worker_that_is_asked_to_stop_ends_what_it_works_on(
    house: House, account_id: UUID, worker: Child
) -> None:
    await asyncio.to_thread(worker.start)
    job_id = await asked(account_id, files.saved(files.drawn(size=(3000, 3000)).effect_spread(20), "PNG"))
    await until(job_id, "running")

    await asyncio.to_thread(worker.stop, seconds=60)

    job = await until(job_id, "done", seconds=1)
    assert job.attempts == 1
    assert worker.how_it_ended() == "exit code 0"
