"""Teams and who is in them. A team has an owner at all times: whatever changes who is in it holds the team's row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import profile
from core.accounts.models import Account
from core.audit import NOBODY, Action, Caller
from core.errors import ClofyError, Kind, NotFound
from core.teams.models import Invitation, Member, Sees, Team, TeamRole
from core.teams.telling import Change, tell

MOST_TEAMS = 20  # that one account is in
MOST_MEMBERS = 50  # of one team, those who are asked included
NAME_LENGTH = 60  # characters


class TooManyTeams(ClofyError):
    """You are in as many teams as one may be. Leave one first."""

    kind = Kind.CONFLICT


class LastOwner(ClofyError):
    """A team has an owner at all times. Make somebody else an owner first, or delete the team."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Mine:
    """A team as one of its members has it."""

    team: Team
    me: Member
    members: int


async def make(session: AsyncSession, *, account_id: UUID, name: str, now: datetime, caller: Caller = NOBODY) -> Team:
    """A new team with this account as its owner. Raises TooManyTeams."""
    await refuse_too_many(session, account_id)
    team = Team(name=name)
    session.add(team)
    await session.flush()
    session.add(Member(team_id=team.id, account_id=account_id, role=TeamRole.OWNER, joined_at=now))
    await audit.note(session, Action.TEAM_MADE, account_id=account_id, caller=caller, about=f"team:{team.id}")
    return team


async def refuse_too_many(session: AsyncSession, account_id: UUID) -> None:
    """Raise TooManyTeams if this account may join no further one. Two that ask for one account wait for each other."""
    await session.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    count = await session.scalar(select(func.count()).where(Member.account_id == account_id))
    if (count or 0) >= MOST_TEAMS:
        raise TooManyTeams(account=account_id)


async def of_account(session: AsyncSession, *, account_id: UUID) -> list[Mine]:
    """The teams that an account is in, by their names."""
    size = select(func.count()).where(Member.team_id == Team.id).correlate(Team).scalar_subquery()
    query = select(Team, Member, size).join(Member, Member.team_id == Team.id).where(Member.account_id == account_id)
    rows = await session.execute(query.order_by(func.lower(Team.name), Team.id))
    return [Mine(team, me, members) for team, me, members in rows]


async def membership(session: AsyncSession, team_id: UUID, *, account_id: UUID) -> Member:
    """Raises NotFound for a team that the account is not in, as for one that is not there."""
    found = await session.get(Member, (team_id, account_id), populate_existing=True)
    if found is None:
        raise NotFound(team=team_id)
    return found


async def ownership(session: AsyncSession, team_id: UUID, *, account_id: UUID) -> Team:
    """The team, for one of its owners. Raises NotFound for everybody else."""
    me = await membership(session, team_id, account_id=account_id)
    if me.role != TeamRole.OWNER:
        raise NotFound(team=team_id)
    return await session.get_one(Team, team_id)


async def members_of(session: AsyncSession, team_id: UUID) -> list[Member]:
    """Owners first, then who is in it the longest."""
    rank = (Member.role != TeamRole.OWNER, Member.joined_at, Member.account_id)
    return list(await session.scalars(select(Member).where(Member.team_id == team_id).order_by(*rank)))


async def lock(session: AsyncSession, team_id: UUID) -> Team:
    """Hold a team until the end of the transaction; who changes it at the same time waits. Raises NotFound."""
    query = select(Team).where(Team.id == team_id).with_for_update()
    team = await session.scalar(query.execution_options(populate_existing=True))
    if team is None:
        raise NotFound(team=team_id)
    return team


async def rename(session: AsyncSession, team_id: UUID, *, account_id: UUID, name: str) -> Team:
    """By an owner. Raises NotFound."""
    team = await lock(session, team_id)
    await ownership(session, team_id, account_id=account_id)
    team.name = name
    await session.flush()
    return team


async def remove(
    session: AsyncSession, team_id: UUID, *, account_id: UUID, member_id: UUID, caller: Caller = NOBODY
) -> None:
    """A member leaves, or an owner removes somebody. Raises NotFound, LastOwner."""
    team = await lock(session, team_id)
    me = await membership(session, team_id, account_id=account_id)
    if member_id != account_id and me.role != TeamRole.OWNER:
        raise NotFound(team=team_id)
    gone = await membership(session, team_id, account_id=member_id)
    others = [one for one in await members_of(session, team_id) if one.account_id != member_id]
    if gone.role == TeamRole.OWNER and TeamRole.OWNER not in {one.role for one in others}:
        raise LastOwner(team=team_id)
    await session.delete(gone)
    await session.flush()
    left = member_id == account_id
    action = Action.TEAM_LEFT if left else Action.TEAM_REMOVED
    about = f"team:{team_id}"
    await audit.note(session, action, account_id=member_id, actor_id=account_id, caller=caller, about=about)
    await tell(session, team, Change.LEFT if left else Change.REMOVED, about=member_id)


async def set_role(
    session: AsyncSession,
    team_id: UUID,
    *,
    account_id: UUID,
    member_id: UUID,
    role: TeamRole,
    caller: Caller = NOBODY,
) -> None:
    """By an owner, of anybody in the team. All who are in it are told of a new owner. Raises NotFound, LastOwner."""
    team = await lock(session, team_id)
    await ownership(session, team_id, account_id=account_id)
    changed = await membership(session, team_id, account_id=member_id)
    if changed.role == role:
        return
    owners = [one for one in await members_of(session, team_id) if one.role == TeamRole.OWNER]
    if role == TeamRole.MEMBER and len(owners) == 1:
        raise LastOwner(team=team_id)
    await _become(session, team, changed, role, by=account_id, caller=caller)


async def transfer(
    session: AsyncSession, team_id: UUID, *, account_id: UUID, member_id: UUID, caller: Caller = NOBODY
) -> None:
    """An owner gives the team to somebody in it, and is a member from then on. Raises NotFound, LastOwner."""
    for member, role in ((member_id, TeamRole.OWNER), (account_id, TeamRole.MEMBER)):
        await set_role(session, team_id, account_id=account_id, member_id=member, role=role, caller=caller)


async def _become(
    session: AsyncSession,
    team: Team,
    member: Member,
    role: TeamRole,
    *,
    by: UUID | None,
    caller: Caller = NOBODY,
) -> None:
    member.role = role
    await session.flush()
    await audit.note(
        session,
        Action.TEAM_ROLE_CHANGED,
        account_id=member.account_id,
        actor_id=by,
        caller=caller,
        about=f"team:{team.id}",
        facts={"to": role},
    )
    change = Change.OWNER if role == TeamRole.OWNER else Change.NO_OWNER
    await tell(session, team, change, about=member.account_id)


async def share(
    session: AsyncSession, team_id: UUID, *, account_id: UUID, sees: Sees, now: datetime, caller: Caller = NOBODY
) -> Member:
    """A member says what owners see of them. Narrowing works at once; widening is of what is begun from now on.

    Raises NotFound.
    """
    team = await lock(session, team_id)
    me = await membership(session, team_id, account_id=account_id)
    if me.sees != sees:
        me.content_since = now if sees == Sees.CONTENT else None
        await session.flush()
        about = f"team:{team_id}"
        facts = {"sees": sees}
        await audit.note(
            session, Action.TEAM_SHARING_CHANGED, account_id=account_id, caller=caller, about=about, facts=facts
        )
        await tell(session, team, Change.SHARES if sees == Sees.CONTENT else Change.HIDES, about=account_id)
    return me


async def erase(session: AsyncSession, team_id: UUID, *, account_id: UUID, caller: Caller = NOBODY) -> None:
    """Delete a team, by an owner: nobody sees anything of the others any more. All are told. Raises NotFound."""
    team = await lock(session, team_id)
    await ownership(session, team_id, account_id=account_id)
    await tell(session, team, Change.DELETED, about=account_id)
    await session.delete(team)
    await session.flush()
    await audit.note(session, Action.TEAM_DELETED, account_id=account_id, caller=caller, about=f"team:{team_id}")


@dataclass(frozen=True)
class HandedOver:
    """What became of a team whose member is erased. successor: who owns it from then on, where that is new."""

    team_id: UUID
    name: str
    became: Literal["left", "handed", "deleted"]
    successor: UUID | None = None


async def hand_over(
    session: AsyncSession,
    account_id: UUID,
    now: datetime,  # noqa: ARG001  # as each step of an erasure is called
) -> list[HandedOver]:
    """Take an account out of all its teams, as it is erased; done twice, the second time finds nothing.

    Where it was the last owner, who is in the team the longest becomes its owner, and all are told; those whose
    account is shut, restricted or closing only if there is nobody else. A team in which nobody is left is deleted.
    Invitations to it and by it end.
    """
    mine = select(Team.id).join(Member, Member.team_id == Team.id).where(Member.account_id == account_id)
    became = [
        await _hand_over(session, team_id, account_id) for team_id in await session.scalars(mine.order_by(Team.id))
    ]
    to_it = select(Account.email_key).where(Account.id == account_id).scalar_subquery()
    of_it = or_(Invitation.invited_by == account_id, Invitation.email_key == to_it)
    await session.execute(delete(Invitation).where(of_it))
    return [one for one in became if one is not None]


async def _hand_over(session: AsyncSession, team_id: UUID, account_id: UUID) -> HandedOver | None:
    team = await lock(session, team_id)
    gone = await session.get(Member, (team_id, account_id), populate_existing=True)
    if gone is None:
        return None
    others = [one for one in await members_of(session, team_id) if one.account_id != account_id]
    await session.delete(gone)
    await session.flush()
    if not others:
        await session.delete(team)
        await session.flush()
        return HandedOver(team_id, team.name, "deleted")
    if TeamRole.OWNER in {one.role for one in others}:
        await tell(session, team, Change.LEFT, about=None)
        return HandedOver(team_id, team.name, "left")
    successor = await _longest(session, others)
    await _become(session, team, successor, TeamRole.OWNER, by=None)
    return HandedOver(team_id, team.name, "handed", successor.account_id)


async def _longest(session: AsyncSession, members: Sequence[Member]) -> Member:
    """Who of these is in the team the longest and will go on; if there is none such, who is in it the longest."""
    found = await profile.reachable(session, [one.account_id for one in members])
    open_ones = {one.id for one in found if one.closing_at is None}
    return next((one for one in members if one.account_id in open_ones), members[0])
