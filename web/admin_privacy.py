"""Privacy requests as admins work on them, legal holds, and the end of a restriction with notice."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.database import transaction
from core.errors import InvalidInput
from core.privacy import holds, requests, requests_desk, restriction
from core.privacy.request_models import PrivacyRequest, RequestKind
from core.privacy.requests_desk import PAGE
from web import privacy
from web.callers import caller
from web.inputs import Input, IsoDate, Line, last_id, takes
from web.openapi import AFTER_ID, answers, query
from web.privacy import Details
from web.privacy_shapes import AdminRequest, AdminRequests, EndOfRestriction, HoldFacts, Holds, RequestKindName
from web.replay import once
from web.session import admin_only, fresh_admin
from web.shapes import Created
from web.sign_in import Email

blueprint = Blueprint("admin_privacy", __name__, url_prefix="/api/admin")

WHICH = {"type": "string", "enum": ["", "closed"]}
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=4_000)]
Reason = Annotated[Line, StringConstraints(min_length=3, max_length=500)]


class MailedRequest(Input):
    sender: Email
    about: Email | None = None
    kind: RequestKindName
    details: Details = Field(default="")
    received_on: IsoDate


class Spoken(Input):
    words: Words


class Refusal(Input):
    words: Words
    basis: Reason


class WithReason(Input):
    reason: Reason


@blueprint.get("/requests")
@admin_only
@query(which=WHICH, after=AFTER_ID)
@answers(AdminRequests)
async def list_requests() -> ResponseReturnValue:
    """The unfinished ones by due date, or those that are closed; page by `?after=` the `next` of the page before."""
    return await page(request.args.get("which", ""), request.args.get("after", ""))


async def page(which: str, after: str) -> dict[str, Any]:
    """As the API and the page show it. Raises InvalidInput."""
    if which not in WHICH["enum"]:
        raise InvalidInput(field="which", rule="must be empty or closed")
    last = last_id(after)
    async with transaction() as session:
        found = await requests_desk.page(session, closed=which == "closed", after=last)
        addresses = await profile.addresses(session, {row.account_id for row in found if row.account_id})
    rows = [_row(row, addresses) for row in found]
    return {"requests": rows, "next": str(found[-1].id) if len(found) == PAGE else None}


def _row(row: PrivacyRequest, addresses: dict[UUID, str]) -> dict[str, Any]:
    days = ("acknowledge_by", "gdpr_due", "ccpa_due")
    return {
        **privacy.shown(row),
        **{name: getattr(row, name).isoformat() for name in days},
        **{name: getattr(row, name) for name in ("account_id", "sender", "identity")},
        "email": addresses.get(row.account_id) if row.account_id else None,
    }


@blueprint.post("/requests")
@fresh_admin
@answers(Created, status=201, keyed=True)
@takes(MailedRequest)
async def enter(data: MailedRequest) -> ResponseReturnValue:
    """Write down what came by mail. Its owner is asked at the account's address; the sender learns nothing."""
    now = datetime.now(UTC)

    async def create(session: AsyncSession) -> dict[str, Any]:
        row = await requests_desk.enter(
            session,
            sender=data.sender,
            about=data.about,
            kind=RequestKind(data.kind),
            words=data.details,
            received_at=_received(data.received_on, now=now),
            now=now,
            by=g.account.id,
            caller=caller(),
        )
        return {"id": str(row.id)}

    return await once(create, begin=transaction), 201


def _received(day: date, *, now: datetime) -> datetime:
    """The begin of the day on which a mail came; today's came by now."""
    return min(datetime.combine(day, time(), UTC), now) if day <= now.date() else datetime.combine(day, time(), UTC)


@blueprint.get("/requests/<uuid:request_id>")
@admin_only
@answers(AdminRequest)
async def show_request(request_id: UUID) -> ResponseReturnValue:
    """One with all its steps; who looks is logged."""
    return await view(request_id)


async def view(request_id: UUID) -> dict[str, Any]:
    """As the API and the page show it. Raises NotFound."""
    async with transaction() as session:
        row = await requests_desk.look(session, request_id, by=g.account.id, caller=caller())
        steps = await requests.steps(session, request_id)
        people = {row.account_id, *(one.by for one in steps)} - {None}
        addresses = await profile.addresses(session, {one for one in people if one})
    names = ("at", "did", "manner", "words", "basis")
    told = [
        {**{name: getattr(one, name) for name in names}, "by": addresses.get(one.by) if one.by else None}
        for one in steps
    ]
    return {**_row(row, addresses), "steps": told}


@blueprint.post("/requests/<uuid:request_id>/ask-identity")
@fresh_admin
@answers(None, status=204, problems=(409,))
async def ask_identity(request_id: UUID) -> ResponseReturnValue:
    """Write to the account once more that somebody asks in its name."""
    async with transaction() as session:
        await requests_desk.ask_identity(session, request_id, **_doing())
    return "", 204


def _doing() -> dict[str, Any]:
    return {"now": datetime.now(UTC), "by": g.account.id, "caller": caller()}


@blueprint.post("/requests/<uuid:request_id>/extend")
@fresh_admin
@answers(None, status=204, problems=(409,))
@takes(WithReason)
async def extend(request_id: UUID, data: WithReason) -> ResponseReturnValue:
    """Take the longer time and tell the person why; once, and within the first month."""
    async with transaction() as session:
        await requests_desk.extend(session, request_id, reason=data.reason, **_doing())
    return "", 204


@blueprint.post("/requests/<uuid:request_id>/note")
@fresh_admin
@answers(None, status=204)
@takes(Spoken)
async def note(request_id: UUID, data: Spoken) -> ResponseReturnValue:
    """Add a note to its history."""
    async with transaction() as session:
        await requests_desk.note(session, request_id, words=data.words, **_doing())
    return "", 204


@blueprint.post("/requests/<uuid:request_id>/answer")
@fresh_admin
@answers(None, status=204, problems=(409,))
@takes(Spoken)
async def answer(request_id: UUID, data: Spoken) -> ResponseReturnValue:
    """Answer in words, which are mailed, and close it."""
    async with transaction() as session:
        await requests_desk.answer(session, request_id, words=data.words, **_doing())
    return "", 204


@blueprint.post("/requests/<uuid:request_id>/refuse")
@fresh_admin
@answers(None, status=204, problems=(409,))
@takes(Refusal)
async def refuse(request_id: UUID, data: Refusal) -> ResponseReturnValue:
    """Refuse it with the basis, which is mailed, and close it. Whom we do not know is told nothing."""
    async with transaction() as session:
        await requests_desk.refuse(session, request_id, words=data.words, basis=data.basis, **_doing())
    return "", 204


@blueprint.get("/accounts/<uuid:account_id>/holds")
@admin_only
@answers(Holds)
async def list_holds(account_id: UUID) -> ResponseReturnValue:
    """The open legal holds of an account: while there is one, nothing of it is purged."""
    return {"holds": await holds_of(account_id)}


async def holds_of(account_id: UUID) -> Sequence[dict[str, Any]]:
    async with transaction() as session:
        found = await holds.listed(session, account_id)
    return [{"id": one.id, "reason": one.reason, "placed_at": one.placed_at} for one in found]


async def standing_of(account_id: UUID) -> dict[str, Any]:
    """What keeps an account's data as it is: its open holds, and its restriction."""
    async with transaction() as session:
        restricted = await restriction.standing(session, account_id)
    return {"holds": await holds_of(account_id), "restriction": restricted}


@blueprint.post("/accounts/<uuid:account_id>/holds")
@fresh_admin
@answers(HoldFacts, status=201, keyed=True)
@takes(WithReason)
async def place_hold(account_id: UUID, data: WithReason) -> ResponseReturnValue:
    """Keep what an account has from being purged, for a matter."""

    async def create(session: AsyncSession) -> dict[str, Any]:
        doing = _doing()
        hold = await holds.place(session, account_id, reason=data.reason, **doing)
        return {"id": str(hold), "reason": data.reason, "placed_at": doing["now"].isoformat()}

    return await once(create, begin=transaction), 201


@blueprint.delete("/holds/<uuid:hold_id>")
@fresh_admin
@answers(None, status=204)
async def lift_hold(hold_id: UUID) -> ResponseReturnValue:
    """End a hold: what is due goes with the next purge."""
    async with transaction() as session:
        await holds.lift(session, hold_id, **_doing())
    return "", 204


@blueprint.post("/accounts/<uuid:account_id>/restriction/end")
@fresh_admin
@answers(EndOfRestriction, problems=(409,))
@takes(WithReason)
async def end_restriction(account_id: UUID, data: WithReason) -> ResponseReturnValue:
    """Announce that a restriction ends, with the reason; it ends a week later."""
    async with transaction() as session:
        ends = await restriction.announce_end(session, account_id=account_id, reason=data.reason, **_doing())
    return {"ends_at": ends}
