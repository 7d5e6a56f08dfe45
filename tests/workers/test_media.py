"""From the announcement of an upload to files that everybody may see, or to a reason; and the storage kept in order."""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from core import jobs
from core.database import transaction
from core.errors import NotFound
from core.jobs import Job
from core.media import blobs, library, sweep, uploads
from core.media.blobs import Room
from core.media.library import MediaInUse, Picture
from core.media.models import Media, MediaState
from core.queue import TaskName
from sandbox.azurite import Azurite
from tests.core.media import files
from tests.workers.here import Here

LATER = datetime.now(UTC) + timedelta(days=2)


@pytest.fixture
async def here(storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    from workers import media

    async with Here.open() as made:
        monkeypatch.setattr(media, "process", lambda: made)
        yield made
    await blobs.close()


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def sent(account_id: UUID, content: bytes, *, name: str = "a.png", sha256: bytes | None = None) -> Media:
    """An upload whose blocks are all there."""
    async with transaction() as session:
        media = await uploads.begin(session, account_id=account_id, name=name, size=len(content), sha256=sha256)
    for number in range(uploads.block_count(media)):
        block = content[number * uploads.BLOCK :][: uploads.BLOCK]
        await blobs.stage(str(media.id), number, stream(block), len(block))
        async with transaction() as session:
            await uploads.arrived(session, media.id, number, account_id=account_id)
    return media


async def completed(here: Here, media: Media, account_id: UUID) -> Job:
    """The job of an upload, after one attempt."""
    async with transaction() as session:
        job_id = await uploads.complete(session, media.id, account_id=account_id)
    await here.attempt(TaskName.PROCESS_MEDIA, job_id)
    async with transaction() as session:
        return await session.get_one(Job, job_id)


async def picture(media: Media) -> Picture:
    async with transaction() as session:
        return await library.get(session, media.id)


async def names(room: Room) -> set[str]:
    return {one.name async for page in blobs.pages(room) for one in page}


async def test_an_upload_becomes_files_that_are_there_and_the_original_goes(here: Here, account_id: UUID) -> None:
    content = files.saved(files.drawn(size=(700, 400)), "PNG")
    media = await sent(account_id, content, sha256=hashlib.sha256(content).digest())

    job = await completed(here, media, account_id)

    found = await picture(media)
    assert (job.state, job.result) == ("done", {"media": str(media.id), "state": "ready", "reason": None})
    assert (found.media.state, found.media.width, found.media.height) == (MediaState.READY, 700, 400)
    assert found.media.size == sum(one.size for one in found.files)
    assert found.srcset("avif").count(" ") == 5
    assert {one.name for one in found.files} <= await names(Room.PUBLIC)
    assert str(media.id) not in await names(Room.QUARANTINE)
    size, chunks = await blobs.read(found.files[0].name)
    read = b"".join([chunk async for chunk in chunks])
    assert len(read) == size
    assert hashlib.sha256(read).hexdigest() == found.files[0].name.partition(".")[0]


async def test_an_upload_of_several_blocks_is_put_together(here: Here, account_id: UUID) -> None:
    content = files.saved(files.drawn(), "PNG") + b"\0" * (2 * uploads.BLOCK + 5)

    job = await completed(here, await sent(account_id, content), account_id)

    assert job.result is not None
    assert job.result["state"] == "ready"


@pytest.mark.parametrize(
    ("name", "content", "sha256", "reason"),
    [
        ("a.jpg", b"<html>" + files.SCRIPT, None, "not-a-picture"),
        ("a.png", files.frames("PNG", 3), None, "moving"),
        ("a.png", files.saved(files.drawn(), "PNG"), b"\0" * 32, "other-content"),
    ],
)
async def test_what_is_refused_has_a_reason_and_nothing_of_it_stays(  # noqa: PLR0917  # as its cases are written
    here: Here, account_id: UUID, name: str, content: bytes, sha256: bytes | None, reason: str
) -> None:
    before = await names(Room.PUBLIC)
    media = await sent(account_id, content, name=name, sha256=sha256)

    job = await completed(here, media, account_id)

    assert (job.state, job.result) == ("done", {"media": str(media.id), "state": "refused", "reason": reason})
    assert (await picture(media)).media.reason == reason
    assert await names(Room.PUBLIC) == before
    assert str(media.id) not in await names(Room.QUARANTINE)


async def test_blocks_that_are_lost_are_told(here: Here, account_id: UUID) -> None:
    media = await sent(account_id, b"x" * 10)
    await blobs.discard(str(media.id))

    job = await completed(here, media, account_id)

    assert job.result is not None
    assert job.result["reason"] == "incomplete"


async def test_a_storage_that_is_away_is_tried_again_and_the_picture_made_once(
    here: Here, account_id: UUID, storage: Azurite
) -> None:
    media = await sent(account_id, files.saved(files.drawn(), "PNG"))
    storage.stop()
    try:
        job = await completed(here, media, account_id)
    finally:
        storage.start()
    assert (job.state, job.error) == ("queued", "storage-away")
    async with transaction() as session:
        row = await session.get_one(Job, job.id)
        row.available_at = row.created_at

    await here.attempt(TaskName.PROCESS_MEDIA, job.id)

    assert (await picture(media)).media.state == MediaState.READY


async def test_a_worker_that_died_after_publishing_leaves_nothing_double(
    here: Here, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await sent(account_id, files.saved(files.drawn(size=(50, 50)), "PNG"))

    async def dies(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(library, "ready", dies)
        job = await completed(here, media, account_id)
    assert job.state == "queued"
    published = await names(Room.PUBLIC)
    async with transaction() as session:
        row = await session.get_one(Job, job.id)
        row.available_at = row.created_at
    await here.attempt(TaskName.PROCESS_MEDIA, job.id)

    assert (await picture(media)).media.state == MediaState.READY
    assert await names(Room.PUBLIC) == published


async def test_one_that_was_deleted_meanwhile_ends_quietly(here: Here, account_id: UUID) -> None:
    media = await sent(account_id, files.saved(files.drawn(), "PNG"))
    async with transaction() as session:
        job_id = await uploads.complete(session, media.id, account_id=account_id)
        await library.remove(session, media.id)

    await here.attempt(TaskName.PROCESS_MEDIA, job_id)

    async with transaction() as session:
        job = await session.get_one(Job, job_id)
    assert job.result == {"media": str(media.id), "state": "gone", "reason": None}


async def test_one_that_is_cancelled_is_refused(account_id: UUID, storage: Azurite) -> None:

    media = await sent(account_id, b"x" * 10)
    async with transaction() as session:
        job_id = await uploads.complete(session, media.id, account_id=account_id)

    async with transaction() as session:
        await jobs.cancel(session, job_id, account_id=account_id)

    assert (await picture(media)).media.reason == "failed"
    await blobs.close()


async def test_a_picture_that_is_shown_is_not_deleted(here: Here, account_id: UUID) -> None:
    media = await sent(account_id, files.saved(files.drawn(), "PNG"))
    await completed(here, media, account_id)
    post = f"post:{uuid4()}"
    async with transaction() as session:
        await library.use(session, used_by=post, ids=[media.id])

    async with transaction() as session:
        with pytest.raises(MediaInUse):
            await library.remove(session, media.id)
    async with transaction() as session:
        await library.use(session, used_by=post, ids=[])
        await library.remove(session, media.id)

    with pytest.raises(NotFound):
        await picture(media)


async def test_only_a_picture_that_is_ready_can_be_shown(account_id: UUID, storage: Azurite) -> None:
    media = await sent(account_id, b"x" * 10)

    async with transaction() as session:
        with pytest.raises(NotFound):
            await library.use(session, used_by="post:1", ids=[media.id])
    await blobs.close()


async def test_a_file_that_two_pictures_have_stays_as_long_as_one_of_them(here: Here, account_id: UUID) -> None:
    content = files.saved(files.drawn(size=(33, 44)), "PNG")
    one, other = [await sent(account_id, content) for _ in range(2)]
    for media in (one, other):
        await completed(here, media, account_id)
    shared = {file.name for file in (await picture(one)).files}

    async with transaction() as session:
        await library.remove(session, one.id)
    await sweep.empty(Room.PUBLIC, now=LATER)
    still = await names(Room.PUBLIC)
    async with transaction() as session:
        await library.remove(session, other.id)
    await sweep.empty(Room.PUBLIC, now=LATER)

    assert shared <= still
    assert shared & await names(Room.PUBLIC) == set()


async def test_the_sweep_takes_what_nobody_knows_and_leaves_what_is_new(here: Here, account_id: UUID) -> None:
    waiting = await sent(account_id, b"x" * 10)
    await blobs.join(str(waiting.id), 1)
    strangers = {str(uuid4()), "not-one-of-ours"}
    for name in strangers:
        await blobs.stage(name, 0, stream(b"x"), 1)
        await blobs.join(name, 1)

    assert await sweep.empty(Room.QUARANTINE, now=datetime.now(UTC)) == 0
    assert await sweep.empty(Room.QUARANTINE, now=LATER) >= 2

    left = await names(Room.QUARANTINE)
    assert strangers & left == set()
    assert str(waiting.id) in left


async def test_an_upload_that_rests_for_a_day_is_forgotten(account_id: UUID, storage: Azurite) -> None:
    media = await sent(account_id, b"x" * 10)
    await blobs.close()

    assert await sweep.forget_abandoned(now=datetime.now(UTC)) == 0
    assert await sweep.forget_abandoned(now=LATER) >= 1

    with pytest.raises(NotFound):
        await picture(media)


async def test_a_file_that_is_not_there_is_an_alarm(
    here: Here, account_id: UUID, alarms: Callable[[], list[dict[str, Any]]]
) -> None:
    media = await sent(account_id, files.saved(files.drawn(size=(21, 21)), "PNG"))
    await completed(here, media, account_id)
    name = (await picture(media)).files[0].name
    before = await swept(here)  # other tests have pictures that never were in the storage
    alarms()
    found = {one.name: one async for page in blobs.pages(Room.PUBLIC) for one in page}
    await blobs.remove(Room.PUBLIC, found[name])

    after = await swept(here)

    assert after["missing"] == before["missing"] + 1
    assert set(after) == {"abandoned", "quarantine", "public", "missing"}
    [alarm] = alarms()
    assert alarm["event"] == "media_files_missing"
    assert name in alarm["files"]
    assert alarm["count"] == after["missing"]
    async with transaction() as session:
        await library.remove(session, media.id)


async def swept(here: Here) -> dict[str, Any]:
    async with transaction() as session:
        job_id = await jobs.enqueue(session, TaskName.SWEEP_MEDIA, payload={})
    assert job_id is not None
    await here.attempt(TaskName.SWEEP_MEDIA, job_id)
    async with transaction() as session:
        job = await session.get_one(Job, job_id)
    assert job.result is not None
    return job.result
