"""The blog for feed readers (RFC 4287, jsonfeed.org 1.1) and search engines (sitemaps.org)."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from core.blog.models import PostPage
from core.blog.rendering import render
from web.inputs import to_json

ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")


def _add(parent: Element, name: str, text: str = "", **attributes: str) -> Element:
    made = SubElement(parent, name, attributes)
    made.text = _NOT_XML.sub("", text) or None
    return made


def _written(root: Element) -> bytes:
    body: bytes = tostring(root, encoding="utf-8")
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + body


def _html(page: PostPage, origin: str) -> str:
    return render(page.body, origin=origin).html


def atom(posts: Sequence[PostPage], *, origin: str, title: str) -> bytes:
    feed = Element("feed", xmlns=ATOM)
    _add(feed, "id", f"{origin}/blog")
    _add(feed, "title", title)
    _add(feed, "updated", _time(max((page.updated_at for page in posts), default=LONG_AGO)))
    _add(feed, "link", rel="alternate", type="text/html", href=f"{origin}/blog")
    _add(feed, "link", rel="self", type="application/atom+xml", href=f"{origin}/blog/feed.atom")
    for page in posts:
        entry = SubElement(feed, "entry")
        _add(entry, "id", f"urn:uuid:{page.post_id}")
        _add(entry, "title", page.title)
        _add(entry, "link", rel="alternate", type="text/html", href=f"{origin}/blog/{page.slug}")
        _add(entry, "published", _time(page.published_at))
        _add(entry, "updated", _time(page.updated_at))
        _add(SubElement(entry, "author"), "name", page.author)
        for tag in page.tags:
            _add(entry, "category", term=tag)
        _add(entry, "summary", page.summary)
        _add(entry, "content", _html(page, origin), type="html")
    return _written(feed)


def json_feed(posts: Sequence[PostPage], *, origin: str, title: str) -> bytes:
    return to_json(
        {
            "version": "https://jsonfeed.org/version/1.1",
            "title": title,
            "home_page_url": f"{origin}/blog",
            "feed_url": f"{origin}/blog/feed.json",
            "language": "en",
            "items": [_item(page, origin) for page in posts],
        }
    )


def _item(page: PostPage, origin: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": f"urn:uuid:{page.post_id}",
        "url": f"{origin}/blog/{page.slug}",
        "title": page.title,
        "summary": page.summary,
        "content_html": _html(page, origin),
        "date_published": _time(page.published_at),
        "date_modified": _time(page.updated_at),
        "authors": [{"name": page.author}],
        "tags": page.tags,
    }
    return facts | ({"image": origin + page.cover} if page.cover else {})


def sitemap(posts: Sequence[PostPage], *, origin: str) -> bytes:
    """The home page, the blog and its posts; those with a canonical address elsewhere are left to that one."""
    urls = Element("urlset", xmlns=SITEMAP)
    for path in ("/", "/blog"):
        _add(SubElement(urls, "url"), "loc", origin + path)
    for page in posts:
        if not page.canonical:
            one = SubElement(urls, "url")
            _add(one, "loc", f"{origin}/blog/{page.slug}")
            _add(one, "lastmod", _time(page.updated_at))
    return _written(urls)
