"""The pages of teams: one's own, an invitation with all that owners would see, what owners see, and who has looked."""

from uuid import UUID

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.accounts import profile
from core.database import transaction
from core.teams import invitations
from web import team_views, teams
from web.pages import page
from web.session import signed_in

blueprint = Blueprint("team_pages", __name__, url_prefix="/account/teams")
blueprint.before_request(teams.refuse_if_off)
blueprint.add_app_template_global(teams.are_on, "teams_are_on")


@blueprint.get("")
@signed_in
async def index() -> ResponseReturnValue:
    facts = {"teams": await teams.rows(g.account.id), "invitations": await teams.received(g.account.id)}
    return await page("teams.html", facts)


@blueprint.get("/looks")
@signed_in
async def looks() -> ResponseReturnValue:
    return await page("team_looks.html", await team_views.looked(g.account.id, request.args.get("before", "")))


@blueprint.get("/invitations/<uuid:invitation_id>")
@signed_in
async def invitation(invitation_id: UUID) -> ResponseReturnValue:
    """Only shows the buttons: what reads links in mails for safety's sake presses none."""
    async with transaction() as session:
        found = await invitations.received(session, invitation_id, account_id=g.account.id, now=teams.now())
    return await page("team_invitation.html", {"invitation": teams.invitation(found)})


@blueprint.get("/<uuid:team_id>")
@signed_in
async def team(team_id: UUID) -> ResponseReturnValue:
    return await page("team.html", {"team": await teams.facts(team_id, g.account.id)})


@blueprint.get("/<uuid:team_id>/usage")
@signed_in
async def usage(team_id: UUID) -> ResponseReturnValue:
    used = await team_views.used(team_id, request.args.get("month", ""))
    names = {one["account_id"]: one["name"] for one in used["members"]}
    facts = {"team": await teams.facts(team_id, g.account.id), "usage": used, "names": names}
    return await page("team_usage.html", facts)


@blueprint.get("/<uuid:team_id>/members/<uuid:member_id>")
@signed_in
async def member(team_id: UUID, member_id: UUID) -> ResponseReturnValue:
    begun = await team_views.begun(team_id, member_id, request.args.get("after", ""))
    return await page("team_member.html", {**begun, "team_id": team_id, **await _name(member_id)})


@blueprint.get("/<uuid:team_id>/members/<uuid:member_id>/<uuid:shared_id>")
@signed_in
async def words(team_id: UUID, member_id: UUID, shared_id: UUID) -> ResponseReturnValue:
    shown = await team_views.words(team_id, member_id, shared_id)
    return await page("team_words.html", {"consultation": shown, "team_id": team_id, **await _name(member_id)})


async def _name(member_id: UUID) -> dict[str, object]:
    """Of who is shown, once it is known that they may be."""
    async with transaction() as session:
        names = await profile.names(session, {member_id})
    return {"member_id": member_id, "name": names[member_id]}
