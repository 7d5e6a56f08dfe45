"""Teams for tests: real rows, committed."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from core.accounts import profile
from core.audit import NOBODY
from core.database import transaction
from core.teams import invitations, teams
from core.teams.models import Sees
from tests.makers import make_account, make_consultation

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def make_people(count: int) -> list[UUID]:
    async with transaction() as session:
        return [await make_account(session) for _ in range(count)]


async def make_team(
    owner: UUID, *members: UUID, sees: Sees = Sees.USAGE, now: datetime = NOW, name: str = "Support"
) -> UUID:
    """A team of this owner, whose members have joined in this order, a minute apart."""
    async with transaction() as session:
        team = await teams.make(session, account_id=owner, name=name, now=now)
    for number, member in enumerate(members, start=1):
        await join(team.id, owner, member, sees=sees, now=now + timedelta(minutes=number))
    return team.id


async def invited(team_id: UUID, owner: UUID, email: str, *, now: datetime = NOW) -> None:
    await invitations.invite(team_id=team_id, account_id=owner, email=email, now=now, caller=NOBODY)


async def join(team_id: UUID, owner: UUID, member: UUID, *, sees: Sees = Sees.USAGE, now: datetime = NOW) -> None:
    await invited(team_id, owner, await email_of(member), now=now)
    async with transaction() as session:
        (received,) = [
            one for one in await invitations.to_account(session, account_id=member, now=now) if one.team.id == team_id
        ]
        await invitations.accept(session, received.invitation.id, account_id=member, sees=sees, now=now)


async def email_of(account_id: UUID) -> str:
    async with transaction() as session:
        return (await profile.addresses(session, {account_id}))[account_id]


async def things_of_teams(owner: UUID) -> dict[str, UUID]:
    """What there is of teams for the owner of one: a member who shows something, and invitations to both sides."""
    now = datetime.now(UTC)
    member, host = await make_people(2)
    team_id = await make_team(owner, now=now - DAY)
    await join(team_id, owner, member, sees=Sees.CONTENT, now=now - DAY)
    await invited(team_id, owner, f"{uuid4()}@people.example", now=now)
    await invited(await make_team(host, now=now), host, await email_of(owner), now=now)
    async with transaction() as session:
        shared = await make_consultation(session, member)
        (sent,) = await invitations.of_team(session, team_id, now=now)
        (received,) = await invitations.to_account(session, account_id=owner, now=now)
    return {
        "team_id": team_id,
        "member_id": member,
        "shared_id": shared,
        "sent_id": sent.id,
        "invitation_id": received.invitation.id,
    }


async def roles(team_id: UUID) -> dict[UUID, str]:
    async with transaction() as session:
        return {one.account_id: one.role for one in await teams.members_of(session, team_id)}
