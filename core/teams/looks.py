"""What an owner may see of a member, and that each look is written down before anything is shown."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.accounts.models import Account
from core.errors import ClofyError, Kind, NotFound
from core.teams import teams
from core.teams.models import Look, LookedAt, Member

PAGE = 50


class NotShown(ClofyError):
    """This member does not show owners the words of their consultations."""

    kind = Kind.FORBIDDEN


async def at_usage(session: AsyncSession, team_id: UUID, *, viewer_id: UUID, now: datetime) -> Mapping[UUID, datetime]:
    """Since when the usage of each in the team may be shown to this owner; written to each of them but the owner.

    Nothing is shown of a restricted account. Raises NotFound for who is no owner of the team.
    """
    team = await teams.ownership(session, team_id, account_id=viewer_id)
    everybody = await teams.members_of(session, team_id)
    restricted = select(Account.id).where(Account.restricted_at.is_not(None))
    kept_back = set(await session.scalars(restricted.where(Account.id.in_([one.account_id for one in everybody]))))
    members = [one for one in everybody if one.account_id not in kept_back]
    for one in members:
        if one.account_id != viewer_id:
            session.add(_look(one, viewer_id=viewer_id, team_name=team.name, what=LookedAt.USAGE, now=now))
    await session.flush()
    return {one.account_id: one.joined_at for one in members}


async def at_content(
    session: AsyncSession,
    team_id: UUID,
    *,
    viewer_id: UUID,
    member_id: UUID,
    now: datetime,
    consultation_id: UUID | None = None,
) -> datetime:
    """From when on consultations of a member may be shown to this owner; written to the member.

    consultation_id: the one that is looked at; None: the list of them
    Raises NotFound, and NotShown for a member who does not show them, or whose account is shut, restricted or closing.
    """
    team = await teams.ownership(session, team_id, account_id=viewer_id)
    member = await teams.membership(session, team_id, account_id=member_id)
    if member_id == viewer_id:
        raise NotFound(team=team_id)  # one's own are on one's own pages
    account = await profile.find_account(session, member_id)
    kept_back = account.disabled_at or account.restricted_at or account.closing_at
    if member.content_since is None or kept_back:
        raise NotShown(team=team_id, member=member_id)
    what = LookedAt.LIST if consultation_id is None else LookedAt.CONSULTATION
    session.add(
        _look(member, viewer_id=viewer_id, team_name=team.name, what=what, now=now, consultation_id=consultation_id)
    )
    await session.flush()
    return member.content_since


def _look(
    member: Member,
    *,
    viewer_id: UUID,
    team_name: str,
    what: LookedAt,
    now: datetime,
    consultation_id: UUID | None = None,
) -> Look:
    return Look(
        account_id=member.account_id,
        viewer_id=viewer_id,
        team_id=member.team_id,
        team_name=team_name,
        what=what,
        consultation_id=consultation_id,
        at=now,
    )


async def of_account(session: AsyncSession, *, account_id: UUID, before: int | None = None) -> list[Look]:
    """Who has looked at what this account does, the latest first; before: the id of the last one that was seen."""
    query = select(Look).where(Look.account_id == account_id)
    if before is not None:
        query = query.where(Look.id < before)
    return list(await session.scalars(query.order_by(Look.id.desc()).limit(PAGE)))
