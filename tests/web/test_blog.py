"""The blog over HTTP: for all and from caches without cookie or script; for readers; for editors by version."""

import json
import re
from datetime import UTC, datetime
from uuid import uuid4
from xml.etree import ElementTree

import jsonschema
import pytest
from quart import Quart
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Role
from core.blog import pages, posts, readers
from core.blog.models import CommentState, Post, PostComment, PostPage, PostReader, PostReading, PostState
from core.blog.rendering import RENDERER
from core.database import transaction
from tests.core.billing.kit import host
from tests.core.blog.kit import make_editor, make_picture, make_post, source
from tests.web.blog_kit import Somebody, published, somebody
from web.kept import FOR_CACHES

ATOM = "{http://www.w3.org/2005/Atom}"
JSON_FEED = {  # jsonfeed.org, version 1.1
    "type": "object",
    "required": ["version", "title", "items"],
    "properties": {
        "version": {"const": "https://jsonfeed.org/version/1.1"},
        "title": {"type": "string"},
        "home_page_url": {"type": "string", "format": "uri"},
        "feed_url": {"type": "string", "format": "uri"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "content_html"],
                "properties": {
                    "id": {"type": "string"},
                    "url": {"type": "string", "format": "uri"},
                    "content_html": {"type": "string"},
                    "date_published": {
                        "type": "string",
                        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$",
                    },
                    "authors": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}


@pytest.fixture
def visitor(app: Quart) -> Somebody:
    return Somebody(app.test_client(use_cookies=False), {"Host": host()})


@pytest.fixture
async def editor(app: Quart) -> Somebody:
    return await somebody(app, Role.ADMIN)


@pytest.fixture
async def reader(app: Quart) -> Somebody:
    return await somebody(app, Role.USER)


async def put_away(post: Post) -> None:
    """Its links lead nowhere; tests that walk through all pages must not find them."""
    async with transaction() as session:
        await posts.move(session, post.id, to=PostState.ARCHIVED, version=1, now=datetime.now(UTC))


@pytest.mark.parametrize("path", ["/blog", "/blog/{}", "/blog/tags/{}", "/blog/authors/{}"])
async def test_a_public_page_is_the_same_for_all_and_may_be_kept(
    visitor: Somebody, reader: Somebody, path: str
) -> None:
    word = f"word{uuid4().hex}"
    await published(slug=word, tags=word, author=word)

    seen = await visitor.get(path.format(word))
    by_reader = await reader.get(path.format(word))

    assert seen.status_code == 200
    assert await seen.get_data() == await by_reader.get_data()
    for answer in (seen, by_reader):
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == FOR_CACHES
        assert "nonce" not in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
    html = await seen.get_data(as_text=True)
    scripts = re.findall(r"<script\b[^>]*>", html)
    assert set(scripts) <= {'<script type="application/ld+json">'}


async def test_an_old_address_redirects_and_an_archived_one_is_gone(app: Quart, editor: Somebody) -> None:
    old, new = f"old-{uuid4().hex}", f"new-{uuid4().hex}"
    post, _ = await published(slug=old)
    where = f"/api/admin/posts/{post.id}"
    saved = await editor.call("PUT", where, {"source": source(slug=new)}, If_Match='"1"')
    assert saved.headers["ETag"] == '"2"'
    assert (await editor.call("POST", f"{where}/state", {"to": "published"}, If_Match='"2"')).status_code == 200

    moved = await editor.get(f"/blog/{old}")
    assert (moved.status_code, moved.headers["Location"]) == (301, f"/blog/{new}")
    assert (await (await editor.get(f"/api/posts/{old}")).get_json())["slug"] == new
    assert (await editor.get(f"/blog/{old}/talk")).headers["Location"] == f"/blog/{new}/talk"
    assert (await editor.call("PUT", f"/api/posts/{old}/like")).status_code == 204

    assert (await editor.call("POST", f"{where}/state", {"to": "archived"}, If_Match='"2"')).status_code == 200
    assert (await editor.get(f"/blog/{old}")).status_code == 404
    assert (await editor.get(f"/blog/{new}")).status_code == 404


async def test_an_unlisted_post_is_read_by_its_address_alone(visitor: Somebody) -> None:
    word = f"hidden{uuid4().hex}"
    await make_post(source(slug=word, title=word, tags=word), await make_editor(), to=PostState.UNLISTED)

    assert '<meta name="robots" content="noindex">' in await visitor.read(f"/blog/{word}")
    for path in ("/blog", "/blog/feed.atom", "/blog/feed.json", "/sitemap.xml", "/api/posts"):
        assert word not in await visitor.read(path), path
    assert "No post has" in await visitor.read(f"/blog/search?q={word}")
    assert (await visitor.get(f"/blog/tags/{word}")).status_code == 404


async def test_posts_are_found_by_their_words_and_shown_with_the_place(visitor: Somebody) -> None:
    word = f"zebra{uuid4().hex}"
    _, slug = await published(body=f"Long before.\n\nA {word} & <b>more</b> here.")

    html = await visitor.read(f"/blog/search?q={word}")

    assert f'href="/blog/{slug}"' in html
    assert f"{word} &amp;" in html
    assert "<b>more" not in html
    assert (await visitor.get("/blog/search?q=%00")).status_code == 400
    assert (await visitor.get("/blog/search?q=" + "(" * 300)).status_code == 200


async def test_a_post_tells_search_engines_and_networks_what_it_is(visitor: Somebody) -> None:
    _, slug = await published(title='A "quoted" </script><script>alert(1)</script> title', tags="One, Two words")

    html = await visitor.read(f"/blog/{slug}")
    told = re.search(r'<script type="application/ld\+json">(.*?)</script>', html, re.DOTALL)

    assert told is not None
    facts = json.loads(told[1])
    assert facts["@type"] == "BlogPosting"
    assert facts["headline"] == 'A "quoted" </script><script>alert(1)</script> title'
    assert facts["keywords"] == "one, two-words"
    assert "<script>alert" not in html
    assert f'<meta property="og:url" content="http://{host()}/blog/{slug}">' in html


async def test_feeds_and_sitemap_have_what_their_formats_ask_for(visitor: Somebody) -> None:
    _, path = await make_picture()
    post, slug = await published(body=f"[here](/blog/search) \x0b ![A cat]({path})", tags="cats")
    origin = f"http://{host()}"

    feed = ElementTree.fromstring(await visitor.read("/blog/feed.atom"))  # noqa: S314  # our own
    for element in (feed, *feed.findall(f"{ATOM}entry")):  # RFC 4287, 4.1.1 and 4.1.2
        for name in ("id", "title", "updated"):
            assert len(element.findall(ATOM + name)) == 1, name
            datetime.fromisoformat(element.findtext(f"{ATOM}updated") or "")
    entries = feed.findall(f"{ATOM}entry")
    assert all(len(entry.findall(f"{ATOM}author/{ATOM}name")) == 1 for entry in entries)
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == len(ids) > 0
    mine = next(one for one in entries if (link := one.find(f"{ATOM}link")) is not None and slug in link.attrib["href"])
    content = mine.find(f"{ATOM}content")
    assert content is not None
    assert content.attrib == {"type": "html"}
    assert f'src="{origin}{path}"' in (content.text or "")
    assert f'href="{origin}/blog/search"' in (content.text or "")

    answer = await visitor.get("/blog/feed.json")
    assert answer.mimetype == "application/feed+json"
    document = json.loads(await answer.get_data())
    jsonschema.validate(document, JSON_FEED, format_checker=jsonschema.FormatChecker())
    assert any(item["url"] == f"{origin}/blog/{slug}" for item in document["items"])

    sitemap = ElementTree.fromstring(await visitor.read("/sitemap.xml"))  # noqa: S314  # our own
    places = [element.text for element in sitemap.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert f"{origin}/blog/{slug}" in places
    await put_away(post)


async def test_readings_are_counted_once_a_day_without_cookies_and_nobody_is_remembered(visitor: Somebody) -> None:
    post, slug = await published()
    dot = f"/blog/readings/{post.id}.gif"
    assert dot in await visitor.read(f"/blog/{slug}")

    for agent in ("One", "One", "Two"):
        answer = await visitor.get(dot, User_Agent=agent)
        assert (answer.status_code, answer.mimetype) == (200, "image/gif")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers

    async with transaction() as session:
        assert await readers.readings(session, [post.id]) == {post.id: 2}
        await session.execute(delete(PostReader).where(PostReader.post_id == post.id))  # as the purge does the next day
        assert await session.scalar(select(PostReading.readers).where(PostReading.post_id == post.id)) == 2
    assert (await visitor.get(f"/blog/readings/{uuid4()}.gif")).status_code == 200


async def test_who_makes_up_browsers_is_not_counted_for_each(session: AsyncSession) -> None:
    post, _ = await published()
    today = datetime.now(UTC).date()

    for number in range(readers.KINDS * 3):
        await readers.count_reading(session, post.id, ip="192.0.2.1", user_agent=f"Browser {number}", day=today)

    assert (await readers.readings(session, [post.id]))[post.id] <= readers.KINDS
    await readers.count_reading(session, post.id, ip="192.0.2.2", user_agent="Browser 1", day=today)
    mine = select(func.count()).select_from(PostReader).where(PostReader.post_id == post.id)
    assert (await session.scalar(mine)) == (await readers.readings(session, [post.id]))[post.id]


async def test_a_comment_waits_is_shown_with_its_name_and_goes_with_its_writer(
    visitor: Somebody, reader: Somebody, editor: Somebody
) -> None:
    _, slug = await published()
    async with transaction() as session:  # what other tests have left: the queue shows the first fifty
        await session.execute(delete(PostComment).where(PostComment.state == CommentState.WAITING))
    where = f"/api/posts/{slug}/comments"
    assert (await visitor.call("POST", where, {"text": "Hi"})).status_code == 401
    made = await reader.call("POST", where, {"text": "I *like* <b>it</b> ![x](https://a.example/b.png)"})
    assert made.status_code == 201
    comment_id = (await made.get_json())["id"]
    assert "I <em>like" not in await visitor.read(f"/blog/{slug}")
    assert any(
        one["id"] == comment_id for one in (await (await editor.get("/api/admin/comments")).get_json())["comments"]
    )
    assert (await reader.get("/api/admin/comments")).status_code == 404

    decision = f"/api/admin/comments/{comment_id}/decision"
    for _ in range(2):
        assert (await editor.call("POST", decision, {"state": "shown"})).status_code == 204
    html = await visitor.read(f"/blog/{slug}")
    assert "<p>I <em>like</em> &lt;b&gt;it&lt;/b&gt; x</p>" in html
    assert "Pat Person" in html

    assert reader.id is not None
    async with transaction() as session:
        exported = await readers.export(session, account_id=reader.id)
        assert [one["text"][:8] for one in exported["comments"]] == ["I *like*"]
    assert (await editor.call("DELETE", f"/api/comments/{comment_id}")).status_code == 404
    async with transaction() as session:
        assert await readers.forget(session, account_id=reader.id) == 1
    assert (await editor.call("POST", decision, {"state": "refused"})).status_code == 404


async def test_who_writes_too_many_comments_waits(reader: Somebody) -> None:
    _, slug = await published()

    statuses = [
        (await reader.call("POST", f"/api/posts/{slug}/comments", {"text": "Hi"})).status_code for _ in range(6)
    ]

    assert statuses == [201] * 5 + [429]


async def test_editors_need_the_version_and_are_told_the_difference(editor: Somebody, app: Quart) -> None:
    other = await somebody(app, Role.ADMIN)
    slug = f"desk-{uuid4().hex}"
    created = await editor.call("POST", "/api/admin/posts", {"source": source(slug=slug, body="One.\n\nTwo.")})
    assert (created.status_code, created.headers["ETag"]) == (201, '"1"')
    where = f"/api/admin/posts/{(await created.get_json())['id']}"

    assert (await editor.call("PUT", where, {"source": "x"})).status_code == 400
    mine, theirs = source(slug=slug, body="One, mine.\n\nTwo."), source(slug=slug, body="One.\n\nTwo, theirs.")
    assert (await other.call("PUT", where, {"source": theirs}, If_Match='"1"')).status_code == 200
    refused = await editor.call("PUT", where, {"source": mine}, If_Match='"1"')

    assert refused.status_code == 409
    told = await refused.get_json(force=True)
    assert (told["code"], told["version"], told["theirs"]) == ("edited-meanwhile", 2, theirs)
    assert told["merged"] == source(slug=slug, body="One, mine.\n\nTwo, theirs.")
    kept = (await (await editor.get(f"{where}/revisions")).get_json())["revisions"]
    assert sorted(one["number"] or 0 for one in kept) == [0, 1, 2]
    aside = next(one for one in kept if one["number"] is None)
    restored = await editor.call("POST", f"{where}/restore", {"revision": aside["id"]}, If_Match='"2"')
    assert (await restored.get_json())["source"] == mine


async def test_what_is_not_ready_is_not_published_and_says_why(editor: Somebody, reader: Somebody) -> None:
    created = await editor.call("POST", "/api/admin/posts", {"source": "no head at all"})
    where = f"/api/admin/posts/{(await created.get_json())['id']}"

    refused = await editor.call("POST", f"{where}/state", {"to": "published"}, If_Match='"1"')

    assert refused.status_code == 409
    assert (await refused.get_json(force=True))["findings"]
    assert (await reader.get(where)).status_code == 404


async def test_the_pages_of_the_desk_are_there_for_admins_alone(editor: Somebody, reader: Somebody) -> None:
    post, slug = await published()

    for path in ("/admin/blog", f"/admin/blog/{post.id}", "/admin/blog/comments"):
        assert (await editor.get(path)).status_code == 200, path
        assert (await reader.get(path)).status_code == 404, path
    talk = await reader.get(f"/blog/{slug}/talk")
    assert (talk.status_code, talk.headers["Cache-Control"]) == (200, "no-store")


async def test_what_an_older_renderer_made_is_rendered_anew(visitor: Somebody) -> None:
    post, slug = await published(body="Words.")
    async with transaction() as session:
        page = await session.get(PostPage, post.id)
        assert page is not None
        page.html, page.renderer = "<script>alert(1)</script>", "0"
        await pages.touch(session)
    assert "alert(1)" not in await visitor.read(f"/blog/{slug}")

    async with transaction() as session:
        while await pages.render_anew(session):
            pass
    async with transaction() as session:
        page = await session.get(PostPage, post.id)
        assert page is not None
        assert (page.html, page.renderer) == ("<p>Words.</p>\n", RENDERER)
