"""Copies of one's data: how far each is, and a link to the latest. They are asked for at /api/privacy/requests."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.database import transaction
from core.privacy import exports
from core.privacy.exports_models import Export, ExportState
from web.callers import caller
from web.exports_shapes import Exports, FileLink
from web.openapi import answers
from web.session import fresh, signed_in

blueprint = Blueprint("exports", __name__)

# What to do when it could not be made, by the code of what went wrong; "" is anything else.
FAILED = {
    "cancelled": "It was stopped. You can ask for another one.",
    "": "That was a fault of ours; nothing of your data was changed. Please ask again. If it fails once more, write to "
    "support@clofy.cloud, and we make it for you.",
}


@blueprint.get("/api/exports")
@signed_in
@answers(Exports)
async def index() -> ResponseReturnValue:
    """The copies of one's data that there are, newest first."""
    return await listed(g.account.id)


async def listed(account_id: UUID) -> dict[str, Any]:
    """As the API and the page show them."""
    async with transaction() as session:
        return {"exports": [shown(one) for one in await exports.page(session, account_id)]}


def shown(export: Export) -> dict[str, Any]:
    is_ready = export.state == ExportState.READY
    names = ("id", "state", "rows", "files", "bytes", "created_at", "fetched_at")
    return {
        **{name: getattr(export, name) for name in names},
        "job": export.job_id,
        "done": export.steps_done,
        "of": export.steps,
        "size": exports.in_words(export.bytes),
        "files_missing": export.missing,
        "ready_at": export.ended_at if is_ready else None,
        "ends_at": exports.ends_at(export),
        "what_to_do": FAILED.get(export.reason, FAILED[""]) if export.reason is not None else None,
    }


@blueprint.get("/api/exports/<uuid:export_id>/link")
@fresh
@answers(FileLink)
async def link(export_id: UUID) -> ResponseReturnValue:
    """An address by which anybody may load one's own copy, for ten minutes. It needs a fresh sign-in."""
    now = datetime.now(UTC)
    address = await exports.link(export_id, account_id=g.account.id, now=now, caller=caller())
    return {"url": address, "until": now + exports.LINK_LIVES}
