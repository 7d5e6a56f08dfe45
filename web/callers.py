"""Where a request comes from, as limits and audit log are told, and only by whom we trust (security.md 153, 154).

What stands before us says it (CLOFY_EDGE); whatever else a request says of itself, anybody may have written.
"""

from ipaddress import ip_address

from quart import g
from quart.globals import request_ctx
from werkzeug.datastructures import Headers

from core.audit import Caller
from core.settings import Edge
from web.errors import request_id
from web.security import site

NO_NETWORK = "<local>"  # as Quart calls the peer of what came by a Unix socket, or from a test


def caller() -> Caller:
    """Who sends the request that is being answered."""
    user_agent = request_ctx.request.headers.get("User-Agent", "")
    return Caller(ip=g.ip, user_agent=user_agent, request_id=request_id())  # the guard has looked where it came from


def browser() -> str:
    """What tells this browser from others: the cookie that its CSRF token was bound to, so that there is one."""
    cookies = request_ctx.request.cookies
    return cookies.get(site().csrf_cookie) or cookies.get(site().session_cookie) or ""


def client_ip(edge: Edge, headers: Headers, peer: str) -> str:
    """The person's address; empty if nobody whom we trust tells it."""
    if edge is Edge.FRONT_DOOR:  # proven by its id: security.check_target
        told = headers.getlist("X-Azure-SocketIP")
        return _address(told[0]) if len(told) == 1 else _last_hop(headers)
    if edge is Edge.PROXY and _is_inside(peer):
        return _last_hop(headers)
    return "" if peer == NO_NETWORK else peer


def _last_hop(headers: Headers) -> str:
    """The one that our edge added; those before it came with the request."""
    return _address(",".join(headers.getlist("X-Forwarded-For")).rpartition(",")[2])


def _address(text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""


def _is_inside(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return peer == NO_NETWORK
    return address.is_loopback or address.is_private
