"""Accounts erased, step by step: what is cut off anywhere goes on from the beginning, and ends the same."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from core import streams
from core.billing import stripe_api, taking_up
from core.billing.taking_up import Known
from core.database import transaction
from core.errors import ClofyError, Unavailable
from core.media import blobs
from core.media.blobs import NoStorage, NoSuchBlob
from core.privacy import erasure, erasure_steps, exports, journal
from core.privacy.erasure_steps import Outside
from core.queue import TaskName
from workers.process import process
from workers.runtime import Run, task


@task(TaskName.ERASE, time_allowed=timedelta(minutes=30))
async def erase(run: Run) -> dict[str, Any] | None:
    """Shut the account, stop what it had going, forget it outside, write it down in the journal, then erase the rows.

    The journal comes before the rows: a copy of the database of the moment between is erased after a restore too.
    """
    process().close_at_end(stripe_api.close)
    process().close_at_end(blobs.close)
    erasure_id, now = UUID(run.job.payload["erasure_id"]), datetime.now(UTC)
    async with transaction() as session:
        begun = await erasure_steps.start(session, erasure_id, now=now)
    if begun is None:
        return {"state": "waits or is over"}
    for job_id in begun.running:
        await streams.ask_to_stop(process().redis, job_id)
    async with transaction() as session:
        await erasure_steps.until_nothing_runs(session, begun.account_id)
        unpaid = await erasure_steps.open_checkouts(session, begun.account_id)
    for known in unpaid:
        await _close_checkout(known)
    async with transaction() as session:
        there = await erasure_steps.outside(session, begun.account_id)
    done = await _forget_outside(there)
    with suppress(NoStorage):
        await exports.discard_all(begun.account_id)
    with suppress(NoStorage):  # then there are no copies of the database there either
        await journal.enter(begun.account_id, now)
    async with transaction() as session:
        await erasure_steps.finish(session, erasure_id, outside=done, now=now)
        await run.finish(session, {"state": "done"})
    return None


async def _close_checkout(known: Known) -> None:
    """Nobody pays by it any more; if somebody has just paid, it is credited, and paid back (give_back_late)."""
    await stripe_api.expire_session(known.stripe_session_id)
    try:
        await taking_up.bring_up_to_date(known)
    except Unavailable:
        raise
    except ClofyError:
        return  # what Stripe has does not fit ours: an alarm where it was seen, and no reason to keep a person


async def _forget_outside(there: Outside) -> dict[str, Any]:
    """Blobs with their versions, words in streams, customers at Stripe; what was done, for the proof."""
    with suppress(NoStorage):
        for room, name in there.blobs:
            with suppress(NoSuchBlob):
                await blobs.erase(room, name)
    await streams.forget(process().redis, there.jobs)
    customers = 0
    for name in there.stripe_sessions:
        customers += await stripe_api.forget_customer(name)
    return {"blobs": there.counts, "purchases": len(there.stripe_sessions), "customers_at_stripe": customers}


@task(TaskName.ERASURES, time_allowed=timedelta(minutes=5))
async def look_after(_: Run) -> dict[str, Any]:
    """Each hour: remind, begin anew what is due, see to what came late, forget the last mails."""
    now = datetime.now(UTC)
    async with transaction() as session:
        reminded = await erasure.remind(session, now=now)
    async with transaction() as session:
        begun = await erasure_steps.enqueue_due(session, now=now)
    async with transaction() as session:
        paid_back = await erasure_steps.give_back_late(session, now=now)
    async with transaction() as session:
        forgotten = await erasure_steps.forget_last_mails(session, now=now)
    return {"reminded": reminded, "begun": begun, "paid_back": paid_back, "mails": forgotten}
