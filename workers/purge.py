"""The purge, by beat's ticks: what is due goes, canaries are put out and looked for, and what is late is told."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from core import jobs
from core.database import transaction
from core.errors import Unavailable
from core.media import blobs
from core.privacy import canaries, exports, purge
from core.queue import TaskName
from core.telemetry import log
from workers.process import process
from workers.runtime import Run, task

logger = log(__name__)


@task(TaskName.PURGE, time_allowed=timedelta(minutes=50))
async def purge_what_is_due(_: Run) -> dict[str, Any]:
    """By the clock of PostgreSQL, which is one for all: a worker whose own is ahead must not make anything go early."""
    process().close_at_end(blobs.close)
    async with transaction() as session:
        now = await jobs.now_of(session)
    gone = await purge.run(now=now)
    if gone is None:
        return {"at_work": True}
    with suppress(Unavailable):  # then an hour later
        await exports.discard_old(now)
    async with transaction() as session:
        wrong = await canaries.look(session, now=now)
        planted = await canaries.plant(session, now=now)
        late = await purge.overdue(session, now=now)
    for table, since in late.items():
        logger.error("purge_overdue", table=table, due_at=since.isoformat())
    counts = {one.place: one.count for one in gone if one.count or one.days}
    return {
        "gone": counts,
        "days": sum(one.days for one in gone),
        "planted": planted,
        "canaries": len(wrong),
        "late": sorted(late),
    }
