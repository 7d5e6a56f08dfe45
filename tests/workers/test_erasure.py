"""Accounts erased by a worker: outside the database too, whatever it is cut off in, and what comes late."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, update

from core import streams
from core.accounts.models import Account
from core.billing import purchases, stripe_api, taking_up
from core.billing.invariants import ALL
from core.billing.models import Dispute, Purchase, PurchaseState
from core.credits import invariants, ledger
from core.credits.models import CreditEntry
from core.database import transaction
from core.jobs import Job, JobState
from core.mail.models import Delivery
from core.media import blobs
from core.media.blobs import Room
from core.media.models import MediaFile
from core.privacy import erasure, erasure_steps, journal
from core.privacy.erasure_models import AccountErasure, ErasureState
from core.queue import TaskName
from sandbox.azurite import Azurite
from sandbox.processes import Child
from tests.core.billing.kit import (
    at_stripe,
    bring_up_to_date,
    close_dispute,
    dispute_at_stripe,
    make_credited,
    make_purchase,
    pay,
)
from tests.core.privacy.lives import Life, make_life, places_with
from tests.house import MODULE, ROOT, House
from tests.workers.here import Here

STEPS = range(1, 11)  # erasure_faults.py says what each is
FLAGS = "worker -P threads -c 1 -Q upkeep -n erasure-faults@%h --without-gossip --without-mingle"


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await blobs.close()
    await stripe_api.close()


@pytest.fixture
async def here(house: House, storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:  # it has to run
    from workers import erasure as task  # its Celery application reads the settings that `house` has set

    async with Here.open() as made:
        monkeypatch.setattr(task, "process", lambda: made)
        yield made


async def begin(account_id: UUID) -> AccountErasure:
    """One whose seven days are over."""
    async with transaction() as session:
        return await erasure.begin(session, account_id=account_id, now=datetime.now(UTC) - erasure.GRACE)


async def look(made: AccountErasure) -> AccountErasure:
    async with transaction() as session:
        return await session.get_one(AccountErasure, made.id)


async def names_in(room: Room) -> set[str]:
    return {one.name async for page in blobs.pages(room) for one in page}


async def _words() -> AsyncIterator[bytes]:
    yield b"words"


async def make_files(life: Life) -> set[tuple[Room, str]]:
    """Their blobs: an upload in quarantine, the file of a picture that nothing shows, a copy of their data."""
    async with transaction() as session:
        name = (await session.scalars(select(MediaFile.name).where(MediaFile.media_id == life.waiting_media))).one()
    copy = (Room.EXPORTS, f"{life.mark}.zip")
    files = {(Room.QUARANTINE, str(life.waiting_media)), (Room.PUBLIC, name), copy}
    for room, blob in files:
        await blobs.write(room, blob, _words())
    return files


async def test_outside_the_database_nothing_is_left_either(here: Here) -> None:
    life = await make_life()
    files = await make_files(life)
    await here.redis.xadd(streams.key(life.job), {"e": life.mark})
    made = await begin(life.id)

    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    done = await look(made)
    assert done.state == ErasureState.DONE
    for room, name in files:
        assert name not in await names_in(room)
    assert not [name for room in Room for name in await names_in(room) if life.mark in name]
    assert not await here.redis.exists(streams.key(life.job))
    async for key in here.redis.scan_iter():
        assert life.mark.encode() not in (await here.redis.dump(key) or b""), key
    assert journal.digest(life.id) in await journal.entries()
    assert done.proof is not None
    assert done.proof["outside"]["blobs"] == {"quarantine": 2, "public": 1, "exports": 1}
    async with transaction() as session:
        left = await places_with(session, *life.marks)
    assert left.keys() == {"mail_deliveries"}  # the last mail, until it is sent


async def test_a_customer_at_stripe_is_deleted(here: Here) -> None:
    purchase, checkout = await make_purchase()
    customer = (await at_stripe("POST", "/v1/customers", form={"email": "ada@example.com"}))["id"]
    form = {
        "mode": "payment",
        "success_url": "http://localhost",
        "customer": customer,
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "usd",
        "line_items[0][price_data][unit_amount]": "500",
        "line_items[0][price_data][product_data][name]": "Starter",
    }
    session_id = (await at_stripe("POST", "/v1/checkout/sessions", form=form))["id"]
    async with transaction() as session:
        mine = update(Purchase).where(Purchase.id == purchase.id)
        await session.execute(mine.values(stripe_session_id=session_id))
    made = await begin(purchase.account_id)

    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    proof = (await look(made)).proof
    assert proof is not None
    assert proof["outside"]["customers_at_stripe"] == 1
    assert customer not in str(await at_stripe("GET", "/v1/customers"))
    assert checkout.id != session_id


async def test_an_open_checkout_takes_no_money_any_more(here: Here) -> None:
    purchase, checkout = await make_purchase()
    made = await begin(purchase.account_id)

    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    told = await at_stripe("GET", f"/v1/checkout/sessions/{checkout.id}")
    async with transaction() as session:
        ours = await session.get_one(Purchase, purchase.id)
    assert (told["status"], ours.state) == ("expired", PurchaseState.EXPIRED)


async def test_what_is_paid_after_the_erasure_is_paid_back_with_an_alarm(
    here: Here, alarms: Callable[[], list[dict[str, Any]]]
) -> None:
    purchase, checkout = await make_purchase()
    made = await begin(purchase.account_id)
    await pay(checkout.id, "delayed")  # a bank debit, which nobody can stop
    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])
    await at_stripe("POST", f"/control/stripe/sessions/{checkout.id}/settle", {"succeeds": True})
    async with transaction() as session:
        known = await taking_up.know(session, purchase.id)
    assert known is not None
    await taking_up.bring_up_to_date(known)

    for _ in range(2):
        async with transaction() as session:
            await erasure_steps.give_back_late(session, now=datetime.now(UTC))

    async with transaction() as session:
        ours = await purchases.get(session, purchase.id, account_id=purchase.account_id)
        asked = await session.scalars(select(Job.key).where(Job.task == TaskName.ISSUE_REFUND))
        assert len([key for key in asked if key]) >= 1
    assert (ours.state, ours.reversed_minor) == (PurchaseState.PAID, ours.amount_minor)
    told = [one for one in alarms() if one["event"] == "purchase_after_erasure"]
    assert [one["refund"] for one in told if one["purchase"] == str(purchase.id)] == ["asked"]


@pytest.mark.parametrize("status", ["won", "lost"])
async def test_an_open_dispute_holds_nothing_up_and_closes_in_the_books(here: Here, status: str) -> None:
    purchase, payment_intent = await make_credited()
    dispute = await dispute_at_stripe(payment_intent)
    await bring_up_to_date(purchase)
    made = await begin(purchase.account_id)
    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    await close_dispute(dispute, status)
    await bring_up_to_date(purchase)

    async with transaction() as session:
        ours = await session.get_one(Dispute, dispute)
        told = await session.scalars(select(Delivery.template).where(Delivery.account_id == purchase.account_id))
        faults = await invariants.violations(session, ALL)
        assert list(told) == []
    assert (await look(made)).state == ErasureState.DONE
    assert ours.status == status
    assert purchase.account_id not in {one.account_id for one in faults}


async def test_an_account_that_is_gone_by_then_is_done(here: Here, account_id: UUID) -> None:
    made = await begin(account_id)
    async with transaction() as session:
        await session.execute(delete(Account).where(Account.id == account_id))

    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    assert (await look(made)).state == ErasureState.DONE


async def test_it_waits_for_what_still_runs_and_goes_on_then(here: Here) -> None:
    life = await make_life()
    async with transaction() as session:
        values = {"state": JobState.RUNNING, "claim": uuid4(), "lease_until": datetime.now(UTC) + timedelta(minutes=5)}
        await session.execute(update(Job).where(Job.id == life.job).values(finished_at=None, **values))
    made = await begin(life.id)
    async with transaction() as session:
        job_id = (await session.scalars(select(Job.id).where(Job.key == f"erase:{made.id}"))).one()
        await session.execute(update(Job).where(Job.id == job_id).values(available_at=Job.created_at))

    await here.attempt(TaskName.ERASE, job_id)
    meanwhile = await look(made)
    async with transaction() as session:
        running = await session.get_one(Job, life.job)
        assert running.cancel_requested_at is not None
        running.state, running.claim, running.lease_until = JobState.CANCELLED, None, None
        running.finished_at = datetime.now(UTC)
    await here.work_off(TaskName.ERASE, [f"erase:{made.id}"])

    assert meanwhile.state == ErasureState.RUNNING
    assert (await look(made)).state == ErasureState.DONE


async def test_each_hour_what_is_due_and_has_no_job_is_begun_anew_and_what_is_late_is_told(
    alarms: Callable[[], list[dict[str, Any]]], account_id: UUID
) -> None:
    made = await begin(account_id)
    async with transaction() as session:
        await session.execute(
            update(Job).where(Job.key == f"erase:{made.id}").values(state=JobState.FAILED, finished_at=made.due_at)
        )

    for hours in (0, 25, 26):
        async with transaction() as session:
            await erasure_steps.enqueue_due(session, now=made.due_at + timedelta(hours=hours))

    async with transaction() as session:
        mine = Job.payload["erasure_id"].astext == str(made.id)
        open_ones = list(await session.scalars(select(Job.state).where(mine, Job.state == JobState.QUEUED)))
    assert open_ones == [JobState.QUEUED]
    told = [one for one in alarms() if one["event"] == "erasure_overdue" and one["erasure"] == str(made.id)]
    assert len(told) == 2


async def make_leaving() -> tuple[UUID, AccountErasure]:
    """With an open checkout, unused credits and an erasure that is due."""
    purchase, _ = await make_purchase()
    async with transaction() as session:
        await ledger.grant(
            session, account_id=purchase.account_id, amount_mc=9_000, source=f"test:{uuid4()}", kind="grant"
        )
    return purchase.account_id, await begin(purchase.account_id)


@pytest.fixture
def worker(house: House, storage: Azurite, tmp_path: Path) -> Iterator[Child]:  # it has to run
    """Of the product, with faults where CLOFY_TEST_FAULTS says so."""
    child = Child(
        "erasure-faults",
        [*MODULE, "celery", "-A", "tests.workers.erasure_faults", *FLAGS.split()],
        log=tmp_path / "faults.log",
        environ=house.environ,
        directory=ROOT,
    )
    yield child
    child.stop()


async def killed(worker: Child) -> bool:
    deadline = time.monotonic() + 60
    while worker.running:
        assert time.monotonic() < deadline, worker.last_words(20)
        await asyncio.sleep(0.05)
    assert worker.process is not None
    return worker.process.returncode == -signal.SIGKILL


@pytest.mark.timeout(300)
async def test_a_worker_killed_at_any_step_leaves_the_same_end(house: House, worker: Child) -> None:
    leaving = [await make_leaving() for _ in STEPS]
    faults = {str(made.id): step for (_, made), step in zip(leaving, STEPS, strict=True)}
    worker.environ = house.environ | {
        "CLOFY_TEST_FAULTS": json.dumps(faults),
        "CLOFY_ALIVE_FILE": f"{worker.log}.alive",
    }

    for (_, made), step in zip(leaving, STEPS, strict=True):
        async with transaction() as session:
            due = update(Job).where(Job.key == f"erase:{made.id}")
            await session.execute(due.values(available_at=Job.created_at, ring_at=Job.created_at))
        worker.start()
        assert await killed(worker), worker.how_it_ended()
        assert ((await look(made)).state == ErasureState.DONE) is (step == 10), step

    async with transaction() as session:
        keys = [f"erase:{made.id}" for _, made in leaving]
        held = update(Job).where(Job.key.in_(keys), Job.state == JobState.RUNNING)
        await session.execute(held.values(lease_until=Job.created_at))
    worker.start()
    deadline = time.monotonic() + 90
    while {(await look(made)).state for _, made in leaving} != {ErasureState.DONE}:
        assert time.monotonic() < deadline, worker.last_words(20)
        await asyncio.sleep(0.2)

    entries = await journal.entries()
    for account_id, made in leaving:
        assert journal.digest(account_id) in entries
        async with transaction() as session:
            account = await session.get_one(Account, account_id)
            assert account.erased_at is not None
            mails = list(await session.scalars(select(Delivery.id).where(Delivery.key == f"erasure:{made.id}:done")))
            lapsed = select(CreditEntry.amount_mc).where(CreditEntry.source == f"erasure:{account_id}")
            assert (len(mails), list(await session.scalars(lapsed))) == (1, [-9_000])
