"""A person's copy: all that is theirs and nothing else, made once, found again after trouble, gone in time."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import jsonschema
import orjson
import pytest
from sqlalchemy import select

from core import streams
from core.audit import Caller
from core.database import transaction
from core.direct import direct
from core.jobs import Job
from core.mail.models import Delivery
from core.media import blobs
from core.media.blobs import Room
from core.notices.models import Notice
from core.privacy import asking, exports, exports_tables, requests
from core.privacy.exports import ExportGone, TooManyExports
from core.privacy.exports_models import Export, ExportState
from core.privacy.request_models import RequestKind, State
from core.queue import TaskName
from sandbox.azurite import Azurite
from tests.core.privacy.export_kit import GIVEN, Copy, Somebody
from tests.house import House
from tests.workers.here import Here
from web.csv_lines import safe

BY_NAME = {one.name: one for one in GIVEN}
EMPTY = {"policy_engagements"}  # a version to be told of would be told to everybody, in other tests
CHANGED = {"jobs": ("state", "attempts", "started_at")}  # by the making itself


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


async def job_of(export: Export) -> Job:
    async with transaction() as session:
        return await session.get_one(Job, export.job_id)


async def make(here: Here, export: Export) -> Export:
    """By one attempt."""
    await here.attempt(TaskName.EXPORT, export.job_id)
    job = await job_of(export)
    assert (job.state, job.error) == ("done", None)
    return await again(export)


def facts(rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    return sorted(str([row[column] for column in columns]) for row in rows)


async def test_a_copy_has_all_that_the_registry_gives_and_nothing_of_anybody_else(here: Here) -> None:
    one, other = await Somebody.made(), await Somebody.made()
    await one.fill(other, messages=1000, pictures=5)
    await other.fill(one)

    export = await asked(one.id)
    before = {table.name: await one.rows(table) for table in GIVEN}
    copy = await Copy.of(await make(here, export))

    for table in GIVEN:
        theirs = copy.rows(table)
        assert len(theirs) == len(before[table.name]), table.name
        sheet = list(csv.reader(io.StringIO(copy.files[f"csv/{table.name}.csv"].decode(), newline="")))
        assert sheet[0] == table.given.split()
        assert len(sheet) == len(theirs) + 1, table.name
        same = [name for name in table.given.split() if name not in (*table.given_as, *CHANGED.get(table.name, ()))]
        assert facts(theirs, same) == facts(before[table.name], same), table.name
    assert {table.name for table in GIVEN if not before[table.name]} <= EMPTY
    strangers = await other.leaves() - await one.leaves()
    assert len(strangers) > 50
    assert {text for text in strangers if text in copy.everything} == set()
    secrets = await one.leaves(secret=True)
    assert len(secrets) > 8
    assert {text for text in secrets if text in copy.everything} == set()
    for kept_back in ("code-", "link-", "out-", "secret-", "hash-", "https://pay.example/"):
        assert f"{kept_back}{one.mark}" not in copy.everything


async def test_the_papers_of_a_copy_say_what_is_in_it(here: Here) -> None:
    one, other = await Somebody.made(), await Somebody.made()
    await one.fill(other, messages=6)
    export = await make(here, await asked(one.id))

    copy = await Copy.of(export)

    schema = copy.json("schema.json")
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for table in GIVEN:
        shape = {"$schema": schema["$schema"], **schema["$defs"][table.name]}
        jsonschema.Draft202012Validator(shape, format_checker=checker).validate(copy.rows(table))
        assert f"\n{table.name} ({table.of})\n" in copy.files["README.txt"].decode()
        assert (shape["class"], bool(shape["kept"])) == (table.of, True)
    [talk] = [content.decode() for name, content in copy.files.items() if name.startswith("transcripts/")]
    assert talk.startswith("# General advisor, ")
    assert [line.split(",")[0] for line in talk.splitlines() if line.startswith("## ")] == [
        "## You",  # what they asked first
        *["## Answer", "## You"] * 3,
    ]
    assert f"Question {one.mark}" in talk
    assert [content[:5] for name, content in copy.files.items() if name.startswith("receipts/CC-")] == [b"%PDF-"]
    pictures = {name.removeprefix("media/"): content for name, content in copy.files.items() if "media/" in name}
    assert pictures == one.files
    assert copy.json("manifest.json")["not_found"] == [f"{'0' * 32}{one.mark}.webp"]
    assert (export.missing, export.files, export.bytes) == (1, len(copy.files), copy.size)
    assert export.rows == sum(copy.json("manifest.json")["records"].values())
    assert "'=2+3 Name" in copy.files["csv/accounts.csv"].decode()
    assert f"'=1+1 comment {one.mark}" in copy.files["csv/post_comments.csv"].decode()
    assert copy.rows(BY_NAME["post_comments"])[0]["source"] == f"=1+1 comment {one.mark}"


async def test_a_cell_is_as_safe_as_in_our_other_sheets(house: House) -> None:
    signs = ["", " ", "\t", "\n", "\r", "\u3000", "\x1c", "=", "-", "+", "@", "＝", "＠", "1", ".5", "a", "'"]
    cells = ["".join(parts) for parts in product(signs, repeat=3)]
    safe_cell = exports_tables.safe("cell")
    query = f"select {safe_cell} from unnest($1::text[]) with ordinality as one(cell, n) order by n"  # noqa: S608  # ours
    async with direct() as unit:
        written = [row[0] for row in await unit.driver.fetch(query, cells)]

    assert written == [safe(cell) for cell in cells]


async def test_one_is_made_at_a_time_and_asking_again_is_that_one(here: Here, account_id: UUID) -> None:
    first, second = await asyncio.gather(asked(account_id), asked(account_id))
    assert first.id == second.id

    await make(here, first)

    third = await asked(account_id)
    assert third.id != first.id
    await make(here, third)
    assert (await again(first)).state == ExportState.REPLACED
    assert {one.blob for one in [await again(first), await again(third)]} == {None, exports.blob_name(third.id, 1)}
    assert {exports.blob_name(one.id, 1) for one in (first, third)} & await names() == {exports.blob_name(third.id, 1)}


async def test_nobody_has_more_than_five_made_in_a_day(here: Here, account_id: UUID) -> None:
    for _ in range(exports.MOST_A_DAY):
        async with transaction() as session:
            export = await session.get_one(Export, await exports.ask(session, account_id))
            export.state, export.reason, export.ended_at = ExportState.FAILED, "internal", datetime.now(UTC)

    with pytest.raises(TooManyExports):
        await asked(account_id)


async def names() -> set[str]:
    return {one.name async for page in blobs.pages(Room.EXPORTS) for one in page}


async def test_an_attempt_that_was_killed_is_begun_anew_and_leaves_no_file(here: Here, account_id: UUID) -> None:
    export = await asked(account_id)
    [left, mine] = [exports.blob_name(export.id, attempt) for attempt in (1, 2)]
    await blobs.write(Room.EXPORTS, left, piece(b"as far as it came"))
    async with transaction() as session:
        job = await session.get_one(Job, export.job_id)
        job.state, job.attempts, job.claim = "running", 1, uuid4()
        job.lease_until = job.created_at - timedelta(minutes=1)

    await make(here, export)

    assert (await again(export)).blob == mine
    assert {one for one in await names() if one.startswith(str(export.id))} == {mine}


async def piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_a_storage_that_is_away_is_tried_again_then_the_reason_is_told_and_one_may_ask_again(
    here: Here, account_id: UUID, storage: Azurite
) -> None:
    async with transaction() as session:
        caller = Caller()
        await asking.ask(session, account_id=account_id, kind=RequestKind.ACCESS, now=datetime.now(UTC), caller=caller)
        export = await exports.latest(session, account_id)
        assert export is not None
        (await session.get_one(Job, export.job_id)).max_attempts = 2
    storage.stop()
    try:
        await here.attempt(TaskName.EXPORT, export.job_id)
        job = await job_of(export)
        assert (job.state, job.error, (await again(export)).state) == ("queued", "storage-away", ExportState.BUILDING)
        async with transaction() as session:
            (await session.get_one(Job, export.job_id)).available_at = job.created_at
        await here.attempt(TaskName.EXPORT, export.job_id)
    finally:
        storage.start()

    given_up = await again(export)
    assert (given_up.state, given_up.reason) == (ExportState.FAILED, "storage-away")
    assert await told(account_id) == {"export_failed"}
    async with transaction() as session:
        await asking.ask(session, account_id=account_id, kind=RequestKind.ACCESS, now=datetime.now(UTC), caller=caller)
        second = await exports.latest(session, account_id)
    assert second is not None
    assert second.id != export.id
    await make(here, second)
    assert await told(account_id) == {"export_failed", "export_ready"}
    async with transaction() as session:
        [request] = await requests.of_account(session, account_id=account_id)
    assert request.state == State.ANSWERED


async def told(account_id: UUID) -> set[str]:
    """The kinds of mails and of notices about copies, which are the same."""
    async with transaction() as session:
        mails = await session.scalars(select(Delivery.template).where(Delivery.account_id == account_id))
        notices = await session.scalars(select(Notice.kind).where(Notice.account_id == account_id))
    kinds = {one for one in mails if one.startswith("export")}
    assert kinds == {one for one in notices if one.startswith("export")}
    return kinds


async def test_what_goes_wrong_in_the_midst_leaves_nothing_behind(
    here: Here, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = await asked(account_id)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exports_tables, "csv_rows", fail)
    await here.attempt(TaskName.EXPORT, export.job_id)

    assert (await job_of(export)).state == "queued"
    assert exports.blob_name(export.id, 1) not in await names()
    monkeypatch.undo()
    async with transaction() as session:
        (await session.get_one(Job, export.job_id)).available_at = export.created_at
    monkeypatch.setattr("workers.exports.process", lambda: here)
    await make(here, export)


async def test_one_whose_account_is_erased_meanwhile_is_deleted_by_its_own_attempt(
    here: Here, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = await asked(account_id)
    write = blobs.write

    async def write_and_erase(*args: Any, **more: Any) -> None:
        await write(*args, **more)
        assert await exports.discard_all(account_id) == 1

    monkeypatch.setattr(blobs, "write", write_and_erase)
    await here.attempt(TaskName.EXPORT, export.job_id)

    assert exports.blob_name(export.id, 1) not in await names()
    async with transaction() as session:
        assert await exports.latest(session, account_id) is None


async def test_all_of_an_account_go_at_once_and_twice_does_no_harm(here: Here, account_id: UUID) -> None:
    ready = await make(here, await asked(account_id))
    building = await asked(account_id)
    left = exports.blob_name(building.id, 1)
    await blobs.write(Room.EXPORTS, left, piece(b"of an attempt that was killed"))

    assert [await exports.discard_all(account_id), await exports.discard_all(account_id)] == [2, 0]

    assert not {ready.blob, left} & await names()
    assert (await job_of(building)).state == "cancelled"
    async with transaction() as session:
        assert await exports.page(session, account_id) == []


async def test_a_copy_lives_seven_days_and_not_a_second_longer(here: Here, account_id: UUID) -> None:
    export = await make(here, await asked(account_id))
    assert export.ended_at is not None
    assert export.blob is not None
    orphan = exports.blob_name(uuid4(), 1)
    await blobs.write(Room.EXPORTS, orphan, piece(b"nobody's"))
    end = export.ended_at + timedelta(days=7)

    await exports.discard_old(export.ended_at + timedelta(minutes=59))
    assert {export.blob, orphan} <= await names()
    await exports.discard_old(end - timedelta(microseconds=1))
    assert export.blob in await names()
    assert orphan not in await names()
    assert await exports.link(export.id, account_id=account_id, now=end - timedelta(seconds=1), caller=Caller())
    with pytest.raises(ExportGone):
        await exports.link(export.id, account_id=account_id, now=end, caller=Caller())
    gone = await exports.discard_old(end)

    assert gone["exports"] >= 1
    assert export.blob not in await names()
    async with transaction() as session:
        assert await exports.latest(session, account_id) is None


async def test_who_watches_is_told_how_far_it_is(here: Here, account_id: UUID) -> None:
    export = await make(here, await asked(account_id))
    await here.wire.close()

    events = await streams.read(here.redis, export.job_id, streams.START)

    kinds = [one.type for one in events]
    assert (kinds[0], kinds[-1]) == ("started", "done")
    assert "progress" in kinds
    first = next(orjson.loads(one.body)["data"] for one in events if one.type == "progress")
    assert set(first) == {"done", "of", "bytes"}
    assert 0 <= first["done"] <= first["of"] == export.steps
