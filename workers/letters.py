"""What we write on our own account: announcements, and a word about few credits left."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from core.database import transaction
from core.letters import announcements, low_balance
from core.queue import TaskName
from workers.runtime import Run, task


@task(TaskName.ANNOUNCE, time_allowed=timedelta(minutes=2))
async def announce(run: Run) -> None:
    """One batch of an announcement; it has the next one queued."""
    asked = run.job.payload
    async with transaction() as session:
        told = await announcements.write_batch(
            session, UUID(asked["announcement_id"]), round_number=int(asked["round"])
        )
        await run.finish(session, told)


@task(TaskName.LOW_BALANCE, time_allowed=timedelta(minutes=10))
async def tell_low_balances(_: Run) -> dict[str, Any]:
    told = 0
    last: UUID | None = low_balance.FIRST
    while last is not None:
        async with transaction() as session:
            some, last = await low_balance.tell(session, after=last)
        told += some
    return {"told": told}
