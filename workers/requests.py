"""Requests under data protection law that wait for somebody."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core.database import transaction
from core.privacy import reminders, restriction
from core.queue import TaskName
from core.telemetry import log
from workers.runtime import Run, task

logger = log(__name__)


@task(TaskName.REMIND, time_allowed=timedelta(minutes=5))
async def remind(_: Run) -> dict[str, Any]:
    """Tell admins what is due, end what nobody confirmed, and restrictions whose announced end has come."""
    now = datetime.now(UTC)
    async with transaction() as session:
        unproven = await reminders.close_unproven(session, now=now)
    async with transaction() as session:
        said, late = await reminders.remind(session, now=now)
    async with transaction() as session:
        ended = await restriction.end_due(session, now=now)
    for one in said:
        if one.days >= 0:
            logger.warning("privacy_request_due_soon", request=str(one.request_id), clock=one.clock, days=one.days)
    for one in late:
        logger.error("privacy_request_overdue", request=str(one.request_id), clock=one.clock, days=-one.days)
    return {"said": len(said), "late": len(late), "unproven": unproven, "restrictions_ended": ended}
