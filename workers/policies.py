"""New versions of our documents: all accounts are told, and it is noticed when the code says something unpublished."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core.database import transaction
from core.privacy import policies, policy_letters
from core.queue import TaskName
from core.telemetry import log
from workers.runtime import Run, task

logger = log(__name__)


@task(TaskName.TELL_POLICIES, time_allowed=timedelta(minutes=5))
async def tell_policies(_: Run) -> dict[str, Any]:
    """The next batches; the next minute goes on."""
    told = 0
    for _batch in range(policy_letters.BATCHES_A_RUN):
        async with transaction() as session:
            some = await policy_letters.tell(session, now=datetime.now(UTC))
        if some is None:
            break
        told += some
    return {"told": told}


@task(TaskName.CHECK_POLICIES, time_allowed=timedelta(minutes=1))
async def check_policies(_: Run) -> dict[str, Any]:
    async with transaction() as session:
        changed = await policies.unpublished(session)
    for document in changed:
        logger.error("policy_text_differs", document=document)
    return {"unpublished": changed}
