"""Where a request comes from, as the audit log and the limits are told."""

from quart.globals import request_ctx

from core.audit import Caller
from web.errors import request_id


def caller() -> Caller:
    """Who sends the request that is being answered."""
    request = request_ctx.request
    peer = request.remote_addr or ""
    return Caller(
        ip="" if peer == "<local>" else peer,  # as Quart calls what came by no network: a Unix socket, a test
        user_agent=request.headers.get("User-Agent", ""),
        request_id=request_id(),
    )
