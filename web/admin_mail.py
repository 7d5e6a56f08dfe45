"""Mails as admins see them: where they are, the dead letters with a second chance, and announcements."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, StringConstraints
from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.audit import Action
from core.database import transaction
from core.errors import InvalidInput
from core.letters import announcements
from core.letters.models import Announcement
from core.mail import deliveries, queries
from core.mail.models import Delivery, DeliveryState
from core.mail.render import UNSAFE
from web import mails
from web.callers import caller
from web.inputs import Input, Line, last_id, takes
from web.notice_shapes import AnnouncementFacts, Announcements, Deliveries
from web.openapi import AFTER_ID, answers, query
from web.replay import once
from web.session import admin_only, fresh_admin

blueprint = Blueprint("admin_mail", __name__, url_prefix="/api/admin")

STATES = {"type": "string", "enum": ["", *DeliveryState]}


def _for_a_header(text: str) -> str:
    if UNSAFE.search(text):
        raise ValueError("must be plain text")
    return text


class NewAnnouncement(Input):
    title: Annotated[Line, StringConstraints(min_length=3, max_length=120), AfterValidator(_for_a_header)]
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=10_000)]


@blueprint.get("/mails")
@admin_only
@query(state=STATES, after=AFTER_ID)
@answers(Deliveries)
async def list_mails() -> ResponseReturnValue:
    """Mails of all accounts in a state, or the dead letters; newest first, as the other lists page."""
    return await page(request.args.get("state", ""), request.args.get("after", ""))


async def page(state: str, after: str) -> dict[str, Any]:
    """As the API and the page show it. Raises InvalidInput."""
    if state and state not in {*DeliveryState}:
        raise InvalidInput(field="state", rule="must be a state of mails")
    states = (DeliveryState(state),) if state else queries.DEAD
    last = last_id(after)
    async with transaction() as session:
        found = await queries.page(session, states=states, after=last)
        counts = await queries.counts(session)
    return {
        "mails": [_shown(one) for one in found],
        "counts": counts,
        "next": str(found[-1].id) if len(found) == queries.PAGE else None,
    }


def _shown(mail: Delivery) -> dict[str, Any]:
    names = ("id", "recipient", "template", "error", "resends")
    facts = {name: getattr(mail, name) for name in names}
    return {**mails.shown(mail), **facts, "can_resend": deliveries.can_resend(mail)}


@blueprint.post("/mails/<uuid:mail_id>/resend")
@fresh_admin
@answers(None, status=204, problems=(409,))
async def resend(mail_id: UUID) -> ResponseReturnValue:
    """Send a mail again that was refused or given up; with an open outcome its reader may get it twice."""
    async with transaction() as session:
        mail = await deliveries.resend(session, mail_id)
        await audit.note(
            session,
            Action.MAIL_RESENT,
            account_id=mail.account_id,
            actor_id=g.account.id,
            caller=caller(),
            about=f"mail:{mail.id}",
        )
    return "", 204


def _told(news: Announcement) -> dict[str, Any]:
    return {name: getattr(news, name) for name in ("id", "title", "text", "state", "written", "created_at")}


@blueprint.get("/announcements")
@admin_only
@answers(Announcements)
async def list_announcements() -> ResponseReturnValue:
    """The latest news to all who want them."""
    return {"announcements": await latest()}


async def latest() -> list[dict[str, Any]]:
    async with transaction() as session:
        return [_told(one) for one in await announcements.latest(session)]


@blueprint.post("/announcements")
@fresh_admin
@answers(AnnouncementFacts, status=201, keyed=True)
@takes(NewAnnouncement)
async def announce(data: NewAnnouncement) -> ResponseReturnValue:
    """Write to all who want news, from now on, a batch at a time."""

    async def create(session: AsyncSession) -> dict[str, Any]:
        news = await announcements.begin(session, title=data.title, text=data.text, made_by=g.account.id)
        return {**_told(news), "id": str(news.id), "created_at": news.created_at.isoformat()}

    return await once(create, begin=transaction), 201


@blueprint.post("/announcements/<uuid:announcement_id>/stop")  # in a hurry, so without proving anything anew
@admin_only
@answers(AnnouncementFacts, problems=(409,))
async def stop(announcement_id: UUID) -> ResponseReturnValue:
    """Write no more of it; what is written goes out."""
    async with transaction() as session:
        return _told(await announcements.stop(session, announcement_id))


@blueprint.post("/announcements/<uuid:announcement_id>/go-on")
@fresh_admin
@answers(AnnouncementFacts, problems=(409,))
async def go_on(announcement_id: UUID) -> ResponseReturnValue:
    """Write to those whom it had not reached."""
    async with transaction() as session:
        return _told(await announcements.go_on(session, announcement_id))
