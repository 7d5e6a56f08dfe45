"""The pages of admins about mails."""

from quart import Blueprint, request
from quart.typing import ResponseReturnValue

from core.mail.models import DeliveryState
from web import admin_mail
from web.pages import page
from web.session import admin_only, fresh_admin

blueprint = Blueprint("admin_mail_pages", __name__)


@blueprint.get("/admin/mails")
@admin_only
async def mails() -> ResponseReturnValue:
    state = request.args.get("state", "")
    facts = await admin_mail.page(state, request.args.get("after", ""))
    return await page("admin_mails.html", {**facts, "state": state, "states": list(DeliveryState)})


@blueprint.get("/admin/announcements")
@fresh_admin
async def announcements() -> ResponseReturnValue:
    """Who sends needs to have proven who they are, and better before they write than after it."""
    return await page("admin_announcements.html", {"announcements": await admin_mail.latest()})
