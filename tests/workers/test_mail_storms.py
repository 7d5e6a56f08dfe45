"""Bar 1 of mails, with real processes: the server is away for an hour, slow, refuses one; workers are killed."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core import jobs
from core.database import transaction
from core.jobs import Job, JobState
from core.mail.deliveries import send
from core.mail.models import Delivery, DeliveryState
from sandbox.processes import Child
from tests.core.mail.server import MailServer, serve
from tests.house import MODULE, ROOT, House
from tests.workers.test_mail import RECEIPT

FLAGS = "worker -P threads -Q mail --without-gossip --without-mingle"
HOUR = timedelta(hours=1)
QUEUED, SENDING, SENT = DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT
DEFERRED, BOUNCED, FAILED = DeliveryState.DEFERRED, DeliveryState.BOUNCED, DeliveryState.FAILED


@pytest.fixture
async def mail_server(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailServer]:
    async with serve(tmp_path, monkeypatch) as server:
        yield server


def make_worker(tmp_path: Path, module: str, slots: int) -> Child:
    words = [*MODULE, "celery", "-A", module, *FLAGS.split(), "-c", str(slots), "-n", f"storm{uuid4().hex}@%h"]
    return Child("storm", words, log=tmp_path / "storm.log", directory=ROOT)


@pytest.fixture
def workers(house: House, tmp_path: Path) -> Iterator[dict[str, Child]]:
    """A plain one, and one with faults; neither is started."""
    made = {
        "plain": make_worker(tmp_path, "workers.app", 8),
        "faults": make_worker(tmp_path, "tests.workers.mail_faults", 1),
    }
    yield made
    for child in made.values():
        child.stop()


async def make_mails(count: int) -> dict[UUID, str]:
    """Receipts, each to somebody of their own."""
    mails = {}
    for _ in range(count):
        recipient = f"{uuid4().hex}@people.example"
        async with transaction() as session:
            await send(
                session,
                key=f"test:{uuid4()}",
                account_id=None,
                recipient=recipient,
                template="receipt",
                facts=RECEIPT,
            )
            one = select(Delivery.id).where(Delivery.recipient == recipient)
            mails[(await session.scalars(one)).one()] = recipient
    return mails


async def states(mails: dict[UUID, str]) -> dict[UUID, str]:
    async with transaction() as session:
        found = await session.execute(select(Delivery.id, Delivery.state).where(Delivery.id.in_(mails)))
        return {row.id: row.state for row in found}


async def until(mails: dict[UUID, str], *wanted: DeliveryState, worker: Child, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not set((now := await states(mails)).values()) <= set(wanted):
        assert time.monotonic() < deadline, (Counter(now.values()), worker.last_words(20))
        await asyncio.sleep(0.1)


def jobs_of(mails: dict[UUID, str]) -> list[str]:
    return [f"mail:{mail_id}" for mail_id in mails]


async def waits(mails: dict[UUID, str]) -> list[timedelta]:
    """How long each of their jobs waits from now on; empty while one does not wait."""
    async with transaction() as session:
        mine = (Job.key.in_(jobs_of(mails)), Job.state == JobState.QUEUED, Job.available_at > func.now())
        now = await jobs.now_of(session)
        rows = list(await session.scalars(select(Job.available_at).where(*mine)))
    return [at - now for at in rows] if len(rows) == len(mails) else []


async def move_clock(mails: dict[UUID, str], worker: Child) -> timedelta:
    """Have the time pass that all of them wait for. Returns how long that was for the first."""
    deadline = time.monotonic() + 60
    while not (left := await waits(mails)):
        assert time.monotonic() < deadline, (await states(mails), worker.last_words(20))
        await asyncio.sleep(0.1)
    async with transaction() as session:
        mine = update(Job).where(Job.key.in_(jobs_of(mails)), Job.state == JobState.QUEUED)
        await session.execute(mine.values(available_at=func.now(), ring_at=func.now()))
    return min(left)


async def release(mail_id: UUID, after: timedelta = timedelta()) -> None:
    """Have its job be due so much later than now."""
    due = func.now() + after
    async with transaction() as session:
        await session.execute(update(Job).where(Job.key == f"mail:{mail_id}").values(available_at=due, ring_at=due))


async def let_leases_run_out(mails: dict[UUID, str]) -> None:
    async with transaction() as session:
        held = update(Job).where(Job.key.in_(jobs_of(mails)), Job.state == JobState.RUNNING)
        await session.execute(held.values(lease_until=Job.created_at))


def accepted(server: MailServer, mails: dict[UUID, str]) -> dict[UUID, int]:
    taken = Counter(one["to"][0] for one in server.inbox.mails)
    return {mail_id: taken[recipient] for mail_id, recipient in mails.items()}


async def killed(worker: Child) -> None:
    deadline = time.monotonic() + 60
    while worker.running:
        assert time.monotonic() < deadline, worker.last_words(20)
        await asyncio.sleep(0.05)
    assert worker.process is not None
    assert worker.process.returncode == -signal.SIGKILL, worker.how_it_ended()


@pytest.mark.timeout(300)
async def test_a_server_that_is_away_for_an_hour_and_then_slow_gets_each_mail_once(
    house: House, mail_server: MailServer, workers: dict[str, Child]
) -> None:
    worker, port = workers["plain"], int(mail_server.url.rpartition(":")[2])
    worker.environ = house.environ | {"CLOFY_SMTP_URL": mail_server.url, "CLOFY_ALIVE_FILE": f"{worker.log}.alive"}
    mails = await make_mails(12)
    refused = next(iter(mails))
    await mail_server.stop()
    worker.start()

    away, moves = timedelta(), 0
    while away < HOUR:
        await until(mails, DEFERRED, worker=worker)
        away += await move_clock(mails, worker)
        moves += 1
        if moves == 4:  # in the middle of it
            worker.signal(signal.SIGKILL)
            worker.stop()
            await let_leases_run_out(mails)
            worker.start()
    mail_server.inbox.knobs.delay_ms = 700
    mail_server.inbox.knobs.refuse_recipients = [mails[refused]]
    mail_server.server = await _again(mail_server, port)
    deadline = time.monotonic() + 120
    while not set((await states(mails)).values()) <= {SENT, BOUNCED}:
        assert time.monotonic() < deadline, (await states(mails), worker.last_words(20))
        if await waits(mails):
            await move_clock(mails, worker)
        await asyncio.sleep(0.1)

    ends = await states(mails)
    assert ends == {**dict.fromkeys(mails, SENT), refused: BOUNCED}
    assert accepted(mail_server, mails) == {**dict.fromkeys(mails, 1), refused: 0}
    assert moves < 15  # it backs off


async def _again(server: MailServer, port: int) -> asyncio.Server:
    from aiosmtpd.smtp import SMTP  # as tests/core/mail/server.py

    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: SMTP(server.inbox, hostname="mail.test", loop=loop), "127.0.0.1", port)


@pytest.mark.timeout(300)  # eight starts of a worker
async def test_a_worker_killed_at_any_step_of_sending_leaves_a_true_state_and_no_second_mail(
    house: House, mail_server: MailServer, workers: dict[str, Child]
) -> None:
    worker = workers["faults"]
    mails = await make_mails(7)
    for mail_id in mails:
        await release(mail_id, timedelta(hours=1))  # one after the other
    steps = dict(zip(mails, range(1, 8), strict=True))
    worker.environ = house.environ | {
        "CLOFY_SMTP_URL": mail_server.url,
        "CLOFY_TEST_FAULTS": json.dumps({str(mail_id): step for mail_id, step in steps.items()}),
        "CLOFY_ALIVE_FILE": f"{worker.log}.alive",
    }

    struck, first_states = {}, {}
    for mail_id, step in steps.items():
        await release(mail_id)
        worker.start()
        await killed(worker)
        struck[step] = accepted(mail_server, mails)[mail_id]
        first_states[step] = (await states(mails))[mail_id]
    await let_leases_run_out(mails)
    worker.start()
    await until(mails, SENT, FAILED, worker=worker)

    by_step = {steps[mail_id]: state for mail_id, state in (await states(mails)).items()}
    assert struck == {1: 0, 2: 0, 3: 0, 4: 0, 5: 1, 6: 1, 7: 1}
    assert first_states == {1: QUEUED, 2: QUEUED, 3: QUEUED, 4: SENDING, 5: SENDING, 6: SENT, 7: SENT}
    assert by_step == {1: SENT, 2: SENT, 3: SENT, 4: FAILED, 5: FAILED, 6: SENT, 7: SENT}
    assert {steps[mail_id]: count for mail_id, count in accepted(mail_server, mails).items()} == {
        step: 0 if step == 4 else 1 for step in range(1, 8)
    }
    async with transaction() as session:
        open_ones = select(Delivery.error).where(Delivery.id.in_(mails), Delivery.state == FAILED)
        assert set(await session.scalars(open_ones)) == {"outcome-unknown"}
