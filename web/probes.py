"""For those who watch over us: alive, ready, and numbers."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from quart import Blueprint, Response
from quart.typing import ResponseReturnValue
from quart_schema import hide

from core.privacy import restores
from core.telemetry import log
from web.session import internal, open_to_all

READY_WITHIN = 2.0  # seconds; a probe that hangs would itself hold connections

blueprint = Blueprint("probes", __name__)
logger = log(__name__)


@blueprint.get("/healthz")
@open_to_all
@hide
async def healthz() -> ResponseReturnValue:
    return {"state": "alive"}


@blueprint.get("/readyz")
@open_to_all
@hide
async def readyz() -> ResponseReturnValue:
    """Ready means that PostgreSQL answers with no restore under way. Without Redis requests still get their 202."""
    try:
        async with asyncio.timeout(READY_WITHIN):
            under_way = await restores.under_way()
    except Exception as error:
        logger.warning("not_ready", reason=type(error).__name__)
        return {"state": "not ready"}, 503
    if under_way:
        return {"state": "being restored"}, 503
    return {"state": "ready"}


@blueprint.get("/metrics")
@internal
@hide
async def metrics() -> ResponseReturnValue:
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
