"""Copies of one's data over the web: who sees them, who gets a link, and that the link is of the file."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from quart import Quart
from sqlalchemy import select

from core.audit import AuditEntry
from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import exports
from core.privacy.exports_models import Export, ExportState
from sandbox.azurite import Azurite
from tests.web.account_kit import Owner, signed_in
from tests.web.browser import Browser


async def make_ready(owner: UUID, *, ago: timedelta = timedelta()) -> Export:
    """A copy as it lies there, with its file."""
    name = exports.blob_name(uuid4(), 1)
    await blobs.write(Room.EXPORTS, name, _piece(b"PK all of " + owner.bytes))
    async with transaction() as session:
        made = Export(
            account_id=owner,
            job_id=uuid4(),
            state=ExportState.READY,
            blob=name,
            ended_at=datetime.now(UTC) - ago,
            rows=1234,
            bytes=12_345_678,
        )
        session.add(made)
        await session.flush()
        return made


async def _piece(content: bytes) -> AsyncIterator[bytes]:
    yield content


@pytest.fixture
async def owner(app: Quart, storage: Azurite) -> Owner:
    return await Owner.made()


@pytest.fixture
async def browser(app: Quart, owner: Owner) -> Browser:
    return await signed_in(app, owner)


async def link(browser: Browser, export: Export) -> tuple[int, dict[str, str]]:
    answer = await browser.call("GET", f"/api/exports/{export.id}/link")
    return answer.status_code, await answer.get_json()


async def test_a_link_gives_the_file_and_nothing_but_it(browser: Browser, owner: Owner) -> None:
    export = await make_ready(owner.id)

    status, told = await link(browser, export)

    assert status == 200
    async with httpx.AsyncClient() as http:
        file = await http.get(told["url"])
        other = await http.get(told["url"].replace(export.blob or "", "other.zip"))
        deleted = await http.delete(told["url"])
    assert file.content == b"PK all of " + owner.id.bytes
    assert f'filename="clofy-cloud-{datetime.now(UTC):%Y-%m-%d}.zip"' in file.headers["Content-Disposition"]
    assert file.headers["Content-Type"] == "application/zip" or file.headers["Content-Type"].startswith("application/")
    assert (other.status_code, deleted.status_code) == (403, 403)
    until = datetime.fromisoformat(told["until"])
    assert timedelta(minutes=9) < until - datetime.now(UTC) < timedelta(minutes=10, seconds=1)
    async with transaction() as session:
        noted = await session.scalars(select(AuditEntry.object).where(AuditEntry.action == "export_fetched"))
        assert f"export:{export.id}" in list(noted)
        assert (await session.get_one(Export, export.id)).fetched_at is not None


async def test_nobody_else_gets_a_link_or_sees_that_there_is_one(app: Quart, browser: Browser) -> None:
    other = await Owner.made()
    export = await make_ready(other.id)

    status, told = await link(browser, export)
    listed = await (await browser.call("GET", "/api/exports")).get_json()

    assert (status, told["code"]) == (404, "not-found")
    assert listed == {"exports": []}


async def test_a_link_needs_a_sign_in_of_the_last_half_hour(browser: Browser, owner: Owner) -> None:
    export = await make_ready(owner.id)
    await owner.age_sessions(timedelta(minutes=31))

    status, told = await link(browser, export)

    assert (status, told["code"]) == (403, "sign-in-again")
    assert (await browser.call("GET", "/api/exports")).status_code == 200


@pytest.mark.parametrize("ago", [timedelta(days=7), timedelta(days=8)])
async def test_after_seven_days_there_is_no_link(browser: Browser, owner: Owner, ago: timedelta) -> None:
    status, told = await link(browser, await make_ready(owner.id, ago=ago))

    assert (status, told["code"]) == (404, "export-gone")


async def test_one_that_is_made_has_no_link_but_says_how_far_it_is(browser: Browser, owner: Owner) -> None:
    async with transaction() as session:
        export_id = await exports.ask(session, owner.id)
        export = await session.get_one(Export, export_id)
        export.steps, export.steps_done, export.bytes = 40, 10, 2_500_000

    status, told = await link(browser, export)
    [shown] = (await (await browser.call("GET", "/api/exports")).get_json())["exports"]

    assert (status, told["code"]) == (404, "export-gone")
    assert (shown["state"], shown["done"], shown["of"], shown["size"]) == ("building", 10, 40, "2.5 MB")
    assert shown["job"] == str(export.job_id)
    assert (shown["ready_at"], shown["ends_at"]) == (None, None)
    job = await browser.call("GET", f"/api/jobs/{shown['job']}")
    assert (await job.get_json())["state"] == "queued"


async def test_one_that_failed_says_what_to_do(browser: Browser, owner: Owner) -> None:
    async with transaction() as session:
        export = await session.get_one(Export, await exports.ask(session, owner.id))
        export.state, export.reason, export.ended_at = ExportState.FAILED, "storage-away", datetime.now(UTC)

    [shown] = (await (await browser.call("GET", "/api/exports")).get_json())["exports"]

    assert shown["state"] == "failed"
    assert "Please ask again" in shown["what_to_do"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes_are_told_in_words(size: int, words: str) -> None:
    assert exports.in_words(int(size)) == words
