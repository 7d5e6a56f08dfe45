"""Where a request comes from, as the audit log and the limits are told."""

from quart.globals import request_ctx

from core.audit import Caller
from web.errors import request_id


def caller() -> Caller:
    """Who sends the request that is being answered."""
    request = request_ctx.request
    return Caller(
        ip=request.remote_addr or "",
        user_agent=request.headers.get("User-Agent", ""),
        request_id=request_id(),
    )
