"""Copies of all that is a person's. An attempt that comes to nothing leaves a file at most, which the next deletes."""

import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import exports, exports_content
from core.privacy.exports_content import Counts
from core.queue import TaskName
from workers.process import process
from workers.runtime import Run, task

TOLD_EVERY = 0.5  # seconds between two words to who watches
KEPT_EVERY = 3.0  # seconds between two notes in the row, for who opens the page meanwhile


@dataclass
class Teller:
    run: Run
    export_id: UUID
    told_at: float = 0.0
    kept_at: float = 0.0

    async def __call__(self, counts: Counts) -> None:
        now = time.monotonic()
        if now - self.told_at >= TOLD_EVERY:
            self.told_at = now
            self.run.tell("progress", {"done": counts.steps_done, "of": counts.steps, "bytes": counts.bytes})
        if now - self.kept_at >= KEPT_EVERY:
            self.kept_at = now
            async with transaction() as session:
                await exports.progress(session, self.export_id, counts)


@task(TaskName.EXPORT, time_allowed=timedelta(minutes=45))
async def export(run: Run) -> dict[str, Any] | None:
    """Write the zip into the storage as it is made; its owner gets it when it is whole, and in its place."""
    process().close_at_end(blobs.close)
    export_id = UUID(run.job.payload["export_id"])
    for attempt in range(1, run.job.attempts):
        await blobs.erase(Room.EXPORTS, exports.blob_name(export_id, attempt))
    async with transaction() as session:
        wanted = await exports.to_make(session, export_id)
    if wanted is None:
        return {"export": str(export_id), "state": "gone"}
    now, name, counts = datetime.now(UTC), exports.blob_name(export_id, run.job.attempts), Counts()
    made = exports_content.parts(wanted.account_id, now=now, counts=counts, tell=Teller(run, export_id))
    async with aclosing(made):
        await blobs.write(Room.EXPORTS, name, made, kind=exports.TYPE)
    async with transaction() as session:
        is_ready = await exports.ready(session, export_id, blob=name, counts=counts, now=datetime.now(UTC))
        result = {"export": str(export_id), "state": "ready" if is_ready else "gone", "bytes": counts.bytes}
        await run.finish(session, result)
    if is_ready:
        await exports.erase_replaced(wanted.account_id)
    else:
        await blobs.erase(Room.EXPORTS, name)
    return None
