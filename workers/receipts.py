"""Receipts issued, one after the other: their numbers have no gaps."""

from datetime import timedelta
from uuid import UUID

from core.billing import receipts
from core.database import transaction
from core.queue import TaskName
from workers.runtime import Run, task


@task(TaskName.ISSUE_RECEIPT, time_allowed=timedelta(seconds=30))
async def issue_receipt(run: Run) -> None:
    async with transaction() as session:
        number = await receipts.issue(session, UUID(run.job.payload["purchase_id"]))
        await run.finish(session, result={"receipt": number})
