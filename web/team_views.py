"""What owners see of members: usage, and the words of those who show them. Each look is written to the member first."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core import limits
from core.accounts import profile
from core.consultations import queries, usage
from core.database import transaction
from core.errors import InvalidInput
from core.teams import looks
from web import team_shapes as shapes
from web.inputs import last_id, last_number
from web.openapi import AFTER_ID, answers, query
from web.session import signed_in
from web.shapes import ConsultationFacts, Consultations
from web.teams import now, refuse_if_off

blueprint = Blueprint("team_views", __name__, url_prefix="/api")
blueprint.before_request(refuse_if_off)

MONTH = {"type": "string", "pattern": "^(2[0-9]{3}-(0[1-9]|1[0-2]))?$"}
BEFORE = {"type": "string", "pattern": "^[0-9]{0,18}$"}


@blueprint.get("/teams/<uuid:team_id>/usage")
@signed_in
@query(month=MONTH)
@answers(shapes.TeamUsage, problems=(429,))
async def show_usage(team_id: UUID) -> ResponseReturnValue:
    """What members asked and what it cost, each since they joined; for owners. Members see that it was looked at."""
    return await used(team_id, request.args.get("month", ""))


async def used(team_id: UUID, month: str) -> dict[str, Any]:
    """month: as 2026-03; empty: this one. Raises NotFound, InvalidInput, TooManyTries."""
    first, end = span_of(month, today=now().date())
    await limits.admit(limits.TEAM_LOOKS, account=str(g.account.id), ip="")
    async with transaction() as session:
        since = await looks.at_usage(session, team_id, viewer_id=g.account.id, now=now())
        names = await profile.names(session, list(since))
        days = await usage.by_day(session, since, first=first, end=end)
        months = await usage.by_month(session, since)
    return {
        "month": f"{first:%Y-%m}",
        "members": [
            {
                "account_id": one,
                "name": names[one],
                "since": at,
                "questions": sum(day.questions for day in days if day.account_id == one),
                "used_mc": sum(day.used_mc for day in days if day.account_id == one),
            }
            for one, at in since.items()
        ],
        "days": [
            {
                "account_id": one.account_id,
                "day": one.day.isoformat(),
                "service": one.service,
                "questions": one.questions,
                "used_mc": one.used_mc,
            }
            for one in days
        ],
        "months": [
            {"month": f"{one.first:%Y-%m}", "questions": one.questions, "used_mc": one.used_mc} for one in months
        ],
    }


def span_of(month: str, *, today: date) -> tuple[date, date]:
    """The first days of a month of UTC and of the next. Raises InvalidInput."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date() if month else today.replace(day=1)
    except ValueError:
        raise InvalidInput(field="month", rule="must be a month as 2026-03") from None
    if not 2000 <= first.year < 3000:
        raise InvalidInput(field="month", rule="must be a month as 2026-03")
    return first, date(first.year + first.month // 12, first.month % 12 + 1, 1)


@blueprint.get("/teams/<uuid:team_id>/members/<uuid:member_id>/consultations")
@signed_in
@query(after=AFTER_ID)
@answers(Consultations, problems=(429,))
async def list_consultations(team_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """What a member has begun since they show it; for owners. The member sees that it was looked at."""
    return await begun(team_id, member_id, request.args.get("after", ""))


async def begun(team_id: UUID, member_id: UUID, after: str) -> dict[str, Any]:
    """Raises NotFound, NotShown, InvalidInput, TooManyTries."""
    last = last_id(after)
    await limits.admit(limits.TEAM_LOOKS, account=str(g.account.id), ip="")
    async with transaction() as session:
        since = await looks.at_content(session, team_id, viewer_id=g.account.id, member_id=member_id, now=now())
        found = await queries.consultations(session, account_id=member_id, after=last, since=since)
    return {"consultations": found, "next": found[-1]["id"] if len(found) == queries.PAGE else None}


@blueprint.get("/teams/<uuid:team_id>/members/<uuid:member_id>/consultations/<uuid:shared_id>")
@signed_in
@answers(ConsultationFacts, problems=(429,))
async def show_consultation(team_id: UUID, member_id: UUID, shared_id: UUID) -> ResponseReturnValue:
    """One of them with its words, as long as these are kept. The member sees that it was looked at."""
    return await words(team_id, member_id, shared_id)


async def words(team_id: UUID, member_id: UUID, shared_id: UUID) -> dict[str, Any]:
    """Raises NotFound, NotShown, TooManyTries; then no look is written, for nothing is shown."""
    await limits.admit(limits.TEAM_LOOKS, account=str(g.account.id), ip="")
    async with transaction() as session:
        since = await looks.at_content(
            session, team_id, viewer_id=g.account.id, member_id=member_id, now=now(), consultation_id=shared_id
        )
        return await queries.consultation(session, shared_id, account_id=member_id, since=since)


@blueprint.get("/team-looks")
@signed_in
@query(before=BEFORE)
@answers(shapes.Looks)
async def list_looks() -> ResponseReturnValue:
    """Who has looked at what one does, the latest first; `before` is the `next` of the page before."""
    return await looked(g.account.id, request.args.get("before", ""))


async def looked(account_id: UUID, before: str) -> dict[str, Any]:
    """Raises InvalidInput."""
    last = last_number(before, field="before")
    async with transaction() as session:
        found = await looks.of_account(session, account_id=account_id, before=last)
        names = await profile.names(session, {one.viewer_id for one in found})
    shown = [
        {
            "id": str(one.id),
            "at": one.at,
            "team": one.team_name,
            "by": names.get(one.viewer_id, ""),
            "what": one.what,
            "consultation_id": one.consultation_id,
        }
        for one in found
    ]
    return {"looks": shown, "next": shown[-1]["id"] if len(shown) == looks.PAGE else None}
