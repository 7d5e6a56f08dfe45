"""Pictures made clean, and the storage kept in order. On prefork: what is worked on costs the processor."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from core.database import transaction
from core.media import blobs, library, sweep, uploads, workshop
from core.media.blobs import LostBlocks, NoStorage, NoSuchBlob, StorageAway
from core.media.kinds import Reason
from core.media.models import Media
from core.media.workshop import Made, Refused
from core.queue import TaskName
from core.telemetry import log
from workers.process import process
from workers.runtime import Run, task

TOLD = 10  # names of missing files that the log gets

logger = log(__name__)


@task(TaskName.PROCESS_MEDIA, time_allowed=timedelta(minutes=5))
async def process_media(run: Run) -> dict[str, Any] | None:
    """From the quarantine to clean files in public, or a reason why not. Twice ends in the same files."""
    process().close_at_end(blobs.close)
    media_id = UUID(run.job.payload["media_id"])
    async with transaction() as session:
        media = await library.to_work_on(session, media_id)
    if media is None:
        return {"media": str(media_id), "state": "gone", "reason": None}
    made: Made | Reason
    try:
        with TemporaryDirectory() as directory:
            made = await _make(media, Path(directory))
    except Refused as refused:
        made = refused.reason
    async with transaction() as session:
        there = await library.to_work_on(session, media_id, lock=True)
        if there is None:
            state, reason = "gone", None
        elif isinstance(made, Made):
            await library.ready(session, there, made)
            state, reason = there.state, None
        else:
            library.refuse(there, made)
            state, reason = there.state, str(made)
        await run.finish(session, {"media": str(media_id), "state": state, "reason": reason})
    with suppress(StorageAway, NoSuchBlob):  # then the sweep does it
        await blobs.discard(str(media_id))
    return None


async def _make(media: Media, directory: Path) -> Made:
    """Fetch it, look whether it is what was announced, work on it, and put the files in their place. Raises Refused."""
    sent, files = directory / "sent", directory / "files"
    files.mkdir()
    try:
        await blobs.join(str(media.id), uploads.block_count(media))
        await blobs.save(str(media.id), sent)
    except (LostBlocks, NoSuchBlob):
        raise Refused(Reason.INCOMPLETE) from None
    if sent.stat().st_size != media.size:
        raise Refused(Reason.INCOMPLETE)
    if media.sha256 is not None and await asyncio.to_thread(_hash, sent) != media.sha256:
        raise Refused(Reason.OTHER_CONTENT)
    made = await workshop.work(sent, name=media.name, directory=files)
    for one in made.files:
        path = files / one.name
        await blobs.publish(one.name, path.read_bytes(), library.TYPES[path.suffix[1:]])
    return made


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@task(TaskName.SWEEP_MEDIA, time_allowed=timedelta(minutes=30))
async def sweep_media(_: Run) -> dict[str, Any]:
    """Compare rows and storage both ways; what was done is in the result."""
    process().close_at_end(blobs.close)
    now = datetime.now(UTC)
    counts = {"abandoned": await sweep.forget_abandoned(now=now)}
    try:
        for room in blobs.PICTURES:
            counts[room.value] = await sweep.empty(room, now=now)
        missing = await sweep.missing()
    except NoStorage:
        return counts  # there are no pictures here
    if missing:
        logger.error("media_files_missing", count=len(missing), files=missing[:TOLD])
    return counts | {"missing": len(missing)}
