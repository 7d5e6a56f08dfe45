"""A person's copy: all that is theirs and nothing else, made once, found again after trouble, gone in time."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from core.database import transaction
from core.jobs import Job
from core.media import blobs
from core.media.blobs import Room
from core.privacy import exports
from core.privacy.exports_models import Export, ExportState
from core.queue import TaskName
from sandbox.azurite import Azurite
from tests.workers.here import Here


@pytest.fixture
async def here(storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    from workers import exports as tasks

    async with Here.open() as made:
        monkeypatch.setattr(tasks, "process", lambda: made)
        yield made
    await blobs.close()


async def asked(account_id: UUID) -> Export:
    async with transaction() as session:
        export_id = await exports.ask(session, account_id)
        return await session.get_one(Export, export_id)


async def again(export: Export) -> Export:
    async with transaction() as session:
        return await session.get_one(Export, export.id)


async def raw(export: Export) -> bytes:
    assert export.blob is not None
    _, chunks = await blobs.fetch(Room.EXPORTS, export.blob)
    return b"".join([chunk async for chunk in chunks])


async def content(export: Export) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(await raw(export)))


async def test_a_copy_is_made(here: Here, rich_id: UUID) -> None:
    export = await asked(rich_id)

    await here.attempt(TaskName.EXPORT, export.job_id)

    async with transaction() as session:
        job = await session.get_one(Job, export.job_id)
    made = await again(export)
    assert (job.state, job.error) == ("done", None)
    assert made.state == ExportState.READY
    there = await content(made)
    assert there.testzip() is None
    assert json.loads(there.read("manifest.json"))["records"]["credit_entries"] == 1
    assert len(json.loads(there.read("data/credit_entries.json"))) == 1
    assert made.bytes == len(await raw(made))
