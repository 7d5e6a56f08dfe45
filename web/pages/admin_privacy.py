"""The pages of admins about privacy requests."""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, request
from quart.typing import ResponseReturnValue

from core.privacy.clocks import day_of
from core.privacy.request_models import RequestKind
from web import admin_privacy
from web.pages import page
from web.session import admin_only

blueprint = Blueprint("admin_privacy_pages", __name__)


@blueprint.get("/admin/requests")
@admin_only
async def index() -> ResponseReturnValue:
    which = request.args.get("which", "")
    facts = await admin_privacy.page(which, request.args.get("after", ""))
    return await page("admin_requests.html", {**facts, "which": which, "today": _today()})


def _today() -> str:
    return day_of(datetime.now(UTC)).isoformat()


@blueprint.get("/admin/requests/new")
@admin_only
async def new() -> ResponseReturnValue:
    return await page("admin_request_new.html", {"kinds": list(RequestKind), "today": _today()})


@blueprint.get("/admin/requests/<uuid:request_id>")
@admin_only
async def show(request_id: UUID) -> ResponseReturnValue:
    facts = await admin_privacy.view(request_id)
    standing = await admin_privacy.standing_of(facts["account_id"]) if facts["account_id"] else None
    return await page("admin_request.html", {"asked": facts, "standing": standing, "today": _today()})
