"""For those who watch over us: alive, ready, and numbers."""

import asyncio
from contextlib import suppress

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from quart import Blueprint, Response
from quart.typing import ResponseReturnValue
from quart_schema import hide

from core import database, jobs
from core.privacy import canaries, purge_receipts, restores
from core.telemetry import log
from web.session import internal, open_to_all

READY_WITHIN = 2.0  # seconds; a probe that hangs would itself hold connections

since_purge = Gauge("clofy_purge_seconds_since", "Seconds since the purge came to its end; more than 3 h is trouble")
canaries_overdue = Gauge("clofy_purge_canaries_overdue", "Rows put out to see the purge work that it should have taken")

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
    with suppress(Exception):  # the other numbers are wanted most while PostgreSQL is in trouble
        async with asyncio.timeout(READY_WITHIN), database.transaction() as session:
            now = await jobs.now_of(session)
            canaries_overdue.set(await canaries.waiting_too_long(session, now=now))
            if (last := await purge_receipts.last_at(session)) is not None:
                since_purge.set((now - last).total_seconds())
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
