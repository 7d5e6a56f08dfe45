"""Public pages that are kept: for whom they are not made again, and when they are old."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from quart import Quart
from sqlalchemy import update

from core.accounts.models import Account, Role
from core.blog import readers
from core.blog.models import CommentState
from core.database import transaction
from tests.core.billing.kit import host
from tests.web.blog_kit import Somebody, published, somebody
from web.kept import MOST, OLD_AFTER


@pytest.fixture
def visitor(app: Quart) -> Somebody:
    return Somebody(app.test_client(use_cookies=False), {"Host": host()})


@pytest.fixture
async def reader(app: Quart) -> Somebody:
    return await somebody(app, Role.USER)


async def test_who_has_a_page_is_not_sent_it_again_until_it_changes(visitor: Somebody, reader: Somebody) -> None:
    _, slug = await published()
    first = await visitor.get(f"/blog/{slug}")
    tag = first.headers["ETag"]

    same = await visitor.get(f"/blog/{slug}", If_None_Match=f'"other", W/{tag}')
    assert (same.status_code, await same.get_data()) == (304, b"")
    assert same.headers["ETag"] == tag
    assert same.headers["Cache-Control"] == first.headers["Cache-Control"]
    head = await visitor.call("HEAD", f"/blog/{slug}")
    assert (head.status_code, await head.get_data(), head.headers["ETag"]) == (200, b"", tag)

    assert (await reader.call("PUT", f"/api/posts/{slug}/like")).status_code == 204
    changed = await visitor.get(f"/blog/{slug}", If_None_Match=tag)
    assert changed.status_code == 200
    assert "1 like" in await changed.get_data(as_text=True)


async def test_what_is_kept_is_not_rendered_again_and_is_bounded(app: Quart, visitor: Somebody) -> None:
    _, slug = await published()
    kept = app.extensions["kept"]
    first = await (await visitor.get(f"/blog/{slug}")).get_data()
    key = (f"/blog/{slug}", b"")
    kept.pages[key] = replace(kept.pages[key], body=b"kept")

    assert (await visitor.read(f"/blog/{slug}"), first != b"kept") == ("kept", True)
    for number in range(MOST + 10):
        await visitor.get(f"/blog?number={number}")
    assert len(kept.pages) == MOST


async def test_what_the_blog_is_not_told_is_on_its_pages_a_minute_later(
    app: Quart, visitor: Somebody, reader: Somebody
) -> None:
    _, slug = await published()
    async with transaction() as session:
        assert reader.id is not None
        made = await readers.comment(session, slug, account_id=reader.id, source="Hi")
        now = datetime.now(UTC)
        await readers.decide(session, made.id, state=CommentState.SHOWN, decided_by=reader.id, now=now)
    assert "Pat Person" in await visitor.read(f"/blog/{slug}")
    async with transaction() as session:
        await session.execute(update(Account).where(Account.id == reader.id).values(name="Pat Other"))

    kept = app.extensions["kept"]
    kept.asked_at, kept.emptied_at = 0.0, kept.emptied_at - OLD_AFTER

    assert "Pat Other" in await visitor.read(f"/blog/{slug}")


async def test_who_only_reads_the_api_has_no_stamp_asked_for(app: Quart, visitor: Somebody) -> None:
    await visitor.read("/blog")
    asked_at = app.extensions["kept"].asked_at

    await visitor.read("/api/posts")

    assert app.extensions["kept"].asked_at == asked_at > 0


async def test_who_leaves_before_the_page_is_made_is_sent_nothing_and_is_no_error(app: Quart) -> None:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/blog",
        "raw_path": b"/blog",
        "root_path": "",
        "query_string": uuid4().hex.encode(),
        "headers": [(b"host", host().encode())],
        "client": ("127.0.0.1", 1),
        "extensions": {},
    }

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app.extensions["kept"](scope, gone, send)

    assert sent == []


async def test_a_foreign_host_gets_nothing_that_is_kept(visitor: Somebody) -> None:
    _, slug = await published()
    await visitor.read(f"/blog/{slug}")

    refused = await visitor.get(f"/blog/{slug}", Host="evil.example")

    assert refused.status_code == 400
