"""What keeps the house in order, by beat's ticks. Each may run twice, late, or not at all for a while."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core import sealing
from core.accounts.factors import lost
from core.billing.invariants import ALL
from core.consultations import generations, partitions
from core.credits import invariants, ledger
from core.database import transaction
from core.queue import TaskName
from core.telemetry import log
from workers.process import process
from workers.runtime import Run, task

logger = log(__name__)


@task(TaskName.EXPIRE_HOLDS, time_allowed=timedelta(minutes=1))
async def expire_holds(_: Run) -> dict[str, Any]:
    async with transaction() as session:
        ended = await generations.expire(session, now=datetime.now(UTC))
    for job in ended:
        await process().tell_end(job)
    async with transaction() as session:
        accounts = await ledger.expire_lots(session)
    return {"ended": len(ended), "accounts": accounts}


@task(TaskName.PREPARE_PARTITIONS, time_allowed=timedelta(minutes=1))
async def prepare_partitions(_: Run) -> dict[str, Any]:
    async with transaction() as session:
        return {"made": await partitions.prepare(session)}


@task(TaskName.LOST_FACTORS, time_allowed=timedelta(minutes=5))
async def lost_factors(_: Run) -> dict[str, Any]:
    """Remind those who asked for the removal of a lost factor, and remove it when its three days are over."""
    now = datetime.now(UTC)
    async with transaction() as session:
        requests = await lost.open_requests(session, now=now)
    for request_id in requests:
        async with transaction() as session:
            await lost.take_up(session, request_id, now=now)
    return {"taken_up": len(requests)}


@task(TaskName.CHECK_LEDGER, time_allowed=timedelta(minutes=10))
async def check_ledger(_: Run) -> dict[str, Any]:
    async with transaction() as session:
        found = await invariants.violations(session, ALL)
    for one in found:
        facts = {"rule": one.rule, "account": str(one.account_id), "kept": one.kept, "expected": one.expected}
        if one.rule in invariants.CHECKS:
            logger.error("ledger_violation", **facts)
        else:
            logger.error("billing_violation", **facts)
    return {"violations": len(found)}


@task(TaskName.RESEAL, time_allowed=timedelta(minutes=10))
async def reseal(_: Run) -> dict[str, Any]:
    """Bring all that is sealed under the key of the day; the result says how much is still under an older one."""
    sealed = 0
    for place in sealing.SEALED_COLUMNS.values():
        last: object | None = None
        while True:
            async with transaction() as session:
                batch = await sealing.reseal(session, place, after=last)
            for key in batch.not_ours:
                logger.error("sealed_value_unreadable", column=place.name, row=str(key))
            sealed += batch.sealed
            last = batch.last
            if last is None:
                break
    async with transaction() as session:
        left = sum((await sealing.under_older_keys(session)).values())
    return {"sealed": sealed, "left": left}
