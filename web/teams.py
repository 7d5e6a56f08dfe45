"""Teams: who is in them, who is asked to join, and what each member shows to owners. Credits stay everybody's own."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import StringConstraints
from quart import Blueprint, g
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.database import transaction
from core.errors import NotFound
from core.settings import settings
from core.teams import invitations, teams
from core.teams.invitations import Received
from core.teams.models import Sees, TeamRole
from core.teams.teams import NAME_LENGTH, Mine
from web import team_shapes as shapes
from web.callers import caller
from web.inputs import Input, Line, takes
from web.openapi import answers
from web.replay import once
from web.session import fresh, signed_in
from web.shapes import Created
from web.sign_in import Email

blueprint = Blueprint("teams", __name__, url_prefix="/api")

Name = Annotated[Line, StringConstraints(max_length=NAME_LENGTH)]


class TeamName(Input):
    name: Name


class NewInvitation(Input):
    email: Email


class Sharing(Input):
    sees: shapes.Sees


class NewRole(Input):
    role: shapes.Role


def are_on() -> bool:
    return settings().teams == "on"


async def refuse_if_off() -> None:
    """Where an operator has turned teams off, none of this is there."""
    if not are_on():
        raise NotFound


blueprint.before_request(refuse_if_off)


def now() -> datetime:
    return datetime.now(UTC)


@blueprint.get("/teams")
@signed_in
@answers(shapes.Teams)
async def index() -> ResponseReturnValue:
    """The teams that one is in."""
    return {"teams": await rows(g.account.id)}


async def rows(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        return [_row(one) for one in await teams.of_account(session, account_id=account_id)]


def _row(mine: Mine) -> dict[str, Any]:
    return {
        "id": mine.team.id,
        "name": mine.team.name,
        "role": mine.me.role,
        "sees": mine.me.sees,
        "content_since": mine.me.content_since,
        "joined_at": mine.me.joined_at,
        "members": mine.members,
    }


@blueprint.post("/teams")
@signed_in
@answers(Created, status=201, problems=(409,), keyed=True)
@takes(TeamName)
async def make(data: TeamName) -> ResponseReturnValue:
    """A team of one's own, with oneself as its owner. It costs nothing."""

    async def create(session: AsyncSession) -> dict[str, Any]:
        team = await teams.make(session, account_id=g.account.id, name=data.name, now=now(), caller=caller())
        return {"id": str(team.id)}

    return await once(create, transaction), 201


@blueprint.get("/teams/<uuid:team_id>")
@signed_in
@answers(shapes.TeamFacts)
async def show(team_id: UUID) -> ResponseReturnValue:
    """Who is in it. Addresses, what each shows, and who is asked are for owners."""
    return await facts(team_id, g.account.id)


async def facts(team_id: UUID, account_id: UUID) -> dict[str, Any]:
    """Raises NotFound for who is not in it."""
    async with transaction() as session:
        mine = next(
            (one for one in await teams.of_account(session, account_id=account_id) if one.team.id == team_id), None
        )
        if mine is None:
            raise NotFound(team=team_id)
        owns = mine.me.role == TeamRole.OWNER
        members = await teams.members_of(session, team_id)
        ids = [one.account_id for one in members]
        names, addresses = await profile.names(session, ids), await profile.addresses(session, ids)
        asked = await invitations.of_team(session, team_id, now=now()) if owns else []
    people = [
        {
            "account_id": one.account_id,
            "name": names[one.account_id],
            "role": one.role,
            "joined_at": one.joined_at,
            "you": one.account_id == account_id,
            "email": addresses[one.account_id] if owns or one.account_id == account_id else None,
            "sees": one.sees if owns or one.account_id == account_id else None,
        }
        for one in members
    ]
    sent = [
        {"id": one.id, "email": one.email, "created_at": one.created_at, "expires_at": one.expires_at} for one in asked
    ]
    return {**_row(mine), "created_at": mine.team.created_at, "people": people, "invitations": sent}


@blueprint.patch("/teams/<uuid:team_id>")
@signed_in
@answers(None, status=204)
@takes(TeamName)
async def rename(team_id: UUID, data: TeamName) -> ResponseReturnValue:
    async with transaction() as session:
        await teams.rename(session, team_id, account_id=g.account.id, name=data.name)
    return "", 204


@blueprint.delete("/teams/<uuid:team_id>")
@fresh
@answers(None, status=204)
async def delete(team_id: UUID) -> ResponseReturnValue:
    """By an owner; its members keep all that is theirs."""
    async with transaction() as session:
        await teams.erase(session, team_id, account_id=g.account.id, caller=caller())
    return "", 204


@blueprint.post("/teams/<uuid:team_id>/invitations")
@signed_in
@answers(None, status=204, problems=(409, 429))
@takes(NewInvitation)
async def invite(team_id: UUID, data: NewInvitation) -> ResponseReturnValue:
    """Ask an address to join, by mail; the answer is the same whether or not it has an account here."""
    await invitations.invite(team_id=team_id, account_id=g.account.id, email=data.email, now=now(), caller=caller())
    return "", 204


@blueprint.delete("/teams/<uuid:team_id>/invitations/<uuid:sent_id>")
@signed_in
@answers(None, status=204)
async def withdraw(team_id: UUID, sent_id: UUID) -> ResponseReturnValue:
    """Before it was answered."""
    async with transaction() as session:
        await invitations.withdraw(session, team_id, sent_id, account_id=g.account.id)
    return "", 204


@blueprint.get("/invitations")
@signed_in
@answers(shapes.Invitations)
async def list_invitations() -> ResponseReturnValue:
    """Those to one's own address that wait for an answer."""
    return {"invitations": await received(g.account.id)}


async def received(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        return [invitation(one) for one in await invitations.to_account(session, account_id=account_id, now=now())]


def invitation(one: Received) -> dict[str, Any]:
    return {
        "id": one.invitation.id,
        "team": one.team.name,
        "by": one.by,
        "owners": one.owners,
        "created_at": one.invitation.created_at,
        "expires_at": one.invitation.expires_at,
    }


@blueprint.post("/invitations/<uuid:invitation_id>/accept")
@signed_in
@answers(Created, problems=(409,))
@takes(Sharing)
async def accept(invitation_id: UUID, data: Sharing) -> ResponseReturnValue:
    """Join, and say what owners see of oneself; the team's id."""
    async with transaction() as session:
        team_id = await invitations.accept(
            session, invitation_id, account_id=g.account.id, sees=Sees(data.sees), now=now(), caller=caller()
        )
    return {"id": team_id}


@blueprint.post("/invitations/<uuid:invitation_id>/decline")
@signed_in
@answers(None, status=204)
async def decline(invitation_id: UUID) -> ResponseReturnValue:
    """It is gone, and nobody is told."""
    async with transaction() as session:
        await invitations.decline(session, invitation_id, account_id=g.account.id, now=now())
    return "", 204


@blueprint.put("/teams/<uuid:team_id>/sharing")
@signed_in
@answers(None, status=204)
@takes(Sharing)
async def share(team_id: UUID, data: Sharing) -> ResponseReturnValue:
    """What owners see of oneself: less at once, more of what is begun from now on."""
    async with transaction() as session:
        await teams.share(session, team_id, account_id=g.account.id, sees=Sees(data.sees), now=now(), caller=caller())
    return "", 204


@blueprint.delete("/teams/<uuid:team_id>/members/<uuid:member_id>")
@signed_in
@answers(None, status=204, problems=(409,))
async def remove(team_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """Leave, or remove somebody as an owner; owners see nothing of them from then on."""
    async with transaction() as session:
        await teams.remove(session, team_id, account_id=g.account.id, member_id=member_id, caller=caller())
    return "", 204


@blueprint.patch("/teams/<uuid:team_id>/members/<uuid:member_id>")
@fresh
@answers(None, status=204, problems=(409,))
@takes(NewRole)
async def set_role(team_id: UUID, member_id: UUID, data: NewRole) -> ResponseReturnValue:
    """Make somebody an owner, or an owner a member. All in the team are told of a new owner."""
    async with transaction() as session:
        await teams.set_role(
            session,
            team_id,
            account_id=g.account.id,
            member_id=member_id,
            role=TeamRole(data.role),
            caller=caller(),
        )
    return "", 204


@blueprint.post("/teams/<uuid:team_id>/members/<uuid:member_id>/transfer")
@fresh
@answers(None, status=204, problems=(409,))
async def transfer(team_id: UUID, member_id: UUID) -> ResponseReturnValue:
    """Give the team to somebody in it, and be a member from then on."""
    async with transaction() as session:
        await teams.transfer(session, team_id, account_id=g.account.id, member_id=member_id, caller=caller())
    return "", 204
