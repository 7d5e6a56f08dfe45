"""The cookie of a browser where somebody has signed in before (core/accounts/browsers.py)."""

from quart import Response, g
from quart.globals import request_ctx

from core.accounts import browsers
from web.security import set_cookie, site


def _cookie() -> str:
    return f"{site().session_cookie}-known"


def known_cookie() -> str | None:
    return request_ctx.request.cookies.get(_cookie())


def make_known(response: Response, email: str) -> None:
    set_cookie(response, _cookie(), browsers.make(email), max_age=int(browsers.KNOWN_FOR.total_seconds()))


async def remember(response: Response) -> Response:
    """Give a page of somebody who is signed in the cookie, unless this browser has one that lasts."""
    account = g.get("account")
    if account is None or response.mimetype != "text/html":
        return response
    if not browsers.lasts(known_cookie(), email=account.email):
        make_known(response, account.email)
    return response
