"""Counting pages for who said yes: what is added up per answer, and when the sums are written."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from quart import Quart, Response, g
from quart.globals import request_ctx

from core.database import is_away, transaction
from core.privacy import analytics
from core.telemetry import log
from web.security import site

WRITTEN_EVERY = 10.0  # seconds
NOT_COUNTED = ("/admin", "/healthz", "/readyz", "/metrics")
FAMILIES = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}

logger = log(__name__)


def family(user_agent: str) -> str:
    """What people call the browser. The first name found counts: browsers claim to be others."""
    return next((name for mark, name in FAMILIES.items() if mark in user_agent), analytics.OTHER)


def came_from(referrer: str) -> str:
    """The host of another site that led here; empty for none, and for ours."""
    try:
        host = (urlsplit(referrer).hostname or "").lower()
    except ValueError:
        return analytics.OTHER
    return "" if host == (urlsplit(site().origin).hostname or "") else host


class Counting:
    """Of one web process."""

    def __init__(self) -> None:
        self.sums = analytics.Sums()

    async def count(self, response: Response) -> Response:
        """Add a page to the sums, if its reader said yes. Only pages that asked how that stands have `g.consent`."""
        request = request_ctx.request
        consent = g.get("consent")
        is_page = request.method == "GET" and response.status_code == 200 and response.mimetype == "text/html"
        if consent is None or not consent.wanted or not is_page or request.url_rule is None:
            return response
        if not request.url_rule.rule.startswith(NOT_COUNTED):
            self.sums.add(
                day=datetime.now(UTC).date(),
                route=request.url_rule.rule,
                browser=family(request.headers.get("User-Agent", "")),
                came_from=came_from(request.headers.get("Referer", "")),
            )
        return response

    async def write(self) -> None:
        """Write the sums; while PostgreSQL is away they wait."""
        taken = self.sums.take()
        try:
            async with transaction() as session:
                await analytics.write(session, taken)
        except Exception as error:
            self.sums.give_back(taken)
            if not is_away(error):
                raise

    async def keep_writing(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), WRITTEN_EVERY)
            except TimeoutError:
                try:
                    await self.write()
                except Exception:
                    logger.exception("counts_not_written")

    async def serve(self) -> AsyncGenerator[None]:
        """While serving; what is left at the end is written then."""
        ended = asyncio.Event()
        keeper = asyncio.create_task(self.keep_writing(ended), name="counts")
        yield
        ended.set()
        await keeper
        await self.write()


def install(app: Quart) -> None:
    counting = app.extensions["counting"] = Counting()
    app.after_request(counting.count)
    app.while_serving(counting.serve)
