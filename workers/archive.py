"""What is put aside each day: the archive, a copy of the database, and each week a drill with the latest one."""

from datetime import UTC, datetime, timedelta
from typing import Any

from core import jobs
from core.database import transaction
from core.media import blobs
from core.media.blobs import NoStorage
from core.privacy import archive, drill, snapshots
from core.queue import TaskName
from core.telemetry import log
from workers.process import process
from workers.runtime import Run, task

ARCHIVE_LATE = timedelta(days=2)  # a day is archived within the first hour after it

logger = log(__name__)


async def _now() -> datetime:
    """By the clock of PostgreSQL, as the purge: a worker's own that is ahead would make something go early."""
    process().close_at_end(blobs.close)
    async with transaction() as session:
        return await jobs.now_of(session)


@task(TaskName.ARCHIVE, time_allowed=timedelta(minutes=50))
async def archive_days(_: Run) -> dict[str, Any]:
    """Those that are over, and no more of those that are past their term. locked: by the store, where it can."""
    now = await _now()
    try:
        gone = await archive.forget(now=now)
        made = await archive.make_up(now=now)
        there = await archive.days()
    except NoStorage:
        return {"storage": False}
    if there and there[-1] < now.astimezone(UTC).date() - ARCHIVE_LATE:
        logger.error("archive_late", last=str(there[-1]))
    told = [{"day": str(one.day), "lines": one.lines, "locked": one.locked} for one in made]
    return {"archived": told, "gone": gone}


@task(TaskName.SNAPSHOT, time_allowed=timedelta(minutes=110))
async def copy_database(_: Run) -> dict[str, Any]:
    """One copy a day. What is due of the older ones goes first, whatever becomes of the new one."""
    now = await _now()
    try:
        gone = await snapshots.forget(now=now)
        made = await snapshots.take(now=now)
    except NoStorage:
        return {"storage": False}
    rows = sum(part.rows for part in (*made.tables, *made.words)) if made is not None else None
    return {"day": str(made.day) if made is not None else None, "rows": rows, "gone": gone}


@task(TaskName.DRILL, time_allowed=timedelta(minutes=110))
async def hold_drill(_: Run) -> dict[str, Any]:
    """Whether there is a fresh copy, each hour; whether the latest can be restored, each week."""
    now = await _now()
    try:
        late = await drill.copy_is_late(now=now)
        if late:
            logger.error("snapshot_late", taken_at=str(await drill.latest_copy()))
        async with transaction() as session:
            due = await drill.is_due(session, now=now)
        if not due or await drill.latest_copy() is None:
            return {"late": late, "held": False}
        found = await drill.hold(now=now)
    except NoStorage:
        return {"storage": False}
    if found:
        logger.error("restore_drill_failed", findings=found[: drill.TOLD])
    return {"late": late, "held": True, "findings": len(found)}
