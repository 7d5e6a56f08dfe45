"""Public pages that are the same for all, kept in this process and answered before the framework is asked.

They are rendered once for each change of the blog. Its stamp, a number in PostgreSQL, is asked for at most once a
second; when it has grown, all that is kept is old. So it is after OLD_AFTER, for there are things that the blog is not
told: the new name of somebody who commented. When PostgreSQL is away, what is kept is served on.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from quart import Quart, Response, current_app, request
from werkzeug.datastructures import Headers

from core.blog import pages
from core.errors import ClofyError
from web import security

ASKED_EVERY = 1.0  # seconds between two looks at the stamp
OLD_AFTER = 60.0  # seconds, as long as a CDN has it
MOST = 500  # pages; what was kept longest goes first
PLACES = ("/blog", "/sitemap.xml")
# A CDN keeps a page for a minute and may show the old one for another while it asks; a browser asks each time.
FOR_CACHES = "public, max-age=0, s-maxage=60, stale-while-revalidate=60"
NOT_IN_304 = {b"content-length", b"content-type"}
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

Send = Callable[[dict[str, Any]], Awaitable[None]]
Lines = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Kept:
    status: int
    headers: Lines
    body: bytes
    etag: bytes


@dataclass
class _Caught:
    """An answer on its way, as the framework sends it."""

    start: dict[str, Any] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.parts.append(message.get("body", b""))


class KeptPages:
    """Stands in front of the application."""

    def __init__(self, app: Any, site: security.Site) -> None:
        self.app, self.site = app, site
        self.stamp: int | None = None
        self.asked_at = self.emptied_at = 0.0
        self.pages: dict[tuple[str, bytes], Kept] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not is_read or not scope["path"].startswith(PLACES) or not self._is_for_us(scope):
            await self.app(scope, receive, send)
            return
        await self._look()
        key = scope["path"], scope["query_string"]
        kept = self.pages.get(key)
        if kept is None:
            stamp, caught = self.stamp, _Caught()
            await self.app(scope, receive, caught)
            if not caught.start:
                return  # who asked has gone
            kept = _answered(caught)
            if _is_for_all(kept) and scope["method"] == "GET" and stamp is not None and stamp == self.stamp:
                self._keep(key, kept)
        await _send(kept, scope, send)

    def _is_for_us(self, scope: Any) -> bool:
        """Whether the application would let it in; what it refuses, it answers itself."""
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        try:
            security.check_target(self.site, headers, scope["path"], scope["query_string"])
        except ClofyError:
            return False
        return True

    async def _look(self) -> None:
        now = time.monotonic()
        if self.stamp is not None and now - self.asked_at < ASKED_EVERY:
            return
        self.asked_at = now  # others go on with what is kept while this one asks
        try:
            stamp = await pages.stamp()
        except ClofyError:
            return  # PostgreSQL is away
        if stamp != self.stamp or now - self.emptied_at >= OLD_AFTER:
            self.stamp, self.emptied_at = stamp, now
            self.pages.clear()

    def _keep(self, key: tuple[str, bytes], kept: Kept) -> None:
        if len(self.pages) >= MOST:
            del self.pages[next(iter(self.pages))]
        self.pages[key] = kept


def _answered(caught: _Caught) -> Kept:
    body = b"".join(caught.parts)
    headers: Lines = [(bytes(name).lower(), bytes(value)) for name, value in caught.start["headers"]]
    etag = b'"%b"' % hashlib.sha256(body).hexdigest()[:24].encode()
    made = Kept(caught.start["status"], headers, body, etag)
    if made.status == 200 and _is_for_all(made):
        headers.append((b"etag", etag))
    return made


def _is_for_all(made: Kept) -> bool:
    names = dict(made.headers)
    return (
        made.status in (200, 301)
        and names.get(b"cache-control", b"").startswith(b"public")
        and b"set-cookie" not in names
    )


async def _send(kept: Kept, scope: Any, send: Send) -> None:
    """The page, or that the reader has it already."""
    status, headers, body = kept.status, kept.headers, kept.body
    if status == 200 and _has(kept.etag, scope["headers"]) and _is_for_all(kept):
        status, headers, body = 304, [line for line in headers if line[0] not in NOT_IN_304], b""
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _has(etag: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether If-None-Match names it; a proxy may have made it weak (RFC 9110, 8.8.3)."""
    named = b",".join(value for name, value in headers if name.lower() == b"if-none-match")
    return named.strip() == b"*" or etag in {one.strip().removeprefix(b"W/") for one in named.split(b",")}


async def look_again(response: Response) -> Response:
    """After a call that may have changed pages: this process, at least, asks for the stamp at once."""
    if request.method not in security.SAFE_METHODS:
        kept: KeptPages = current_app.extensions["kept"]
        kept.asked_at = 0.0
    return response


def install(app: Quart) -> None:
    """Call it before security.install: what is registered first is called last, and has the last word."""

    async def for_all(response: Response) -> Response:
        """A page for all has no nonce, which a cache would make known, and needs none: it has no script."""
        public = response.headers.get("Cache-Control", "").startswith("public")
        if public and response.mimetype == "text/html":
            response.headers["Content-Security-Policy"] = POLICY
        return response

    app.after_request(for_all)
