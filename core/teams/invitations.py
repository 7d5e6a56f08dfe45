"""Asking an address to join a team, whoever has it or nobody; only who has proven that address may answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ScalarSelect, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts import profile
from core.accounts.addresses import Address, parse_address
from core.accounts.models import Account
from core.audit import NOBODY, Action, Caller
from core.database import transaction
from core.errors import ClofyError, Kind, NotFound
from core.mail.deliveries import send
from core.teams import teams
from core.teams.models import Invitation, Member, Sees, Team, TeamRole
from core.teams.telling import Change, tell
from core.telemetry import log

LIVES = timedelta(days=14)  # then the address goes, answered or not

logger = log(__name__)


class TeamFull(ClofyError):
    """A team may have at most 50 people, those who are asked included."""

    kind = Kind.CONFLICT


class AlreadyInTeam(ClofyError):
    """Somebody with this address is in the team already."""

    kind = Kind.CONFLICT


async def invite(*, team_id: UUID, account_id: UUID, email: str, now: datetime, caller: Caller) -> None:
    """An owner asks an address to join, by a mail; asked again while it is open, nothing is done.

    Nothing of this tells whether there is such an account. Raises NotFound, InvalidInput, TeamFull, AlreadyInTeam,
    TooManyTries.
    """
    address = parse_address(email)
    async with transaction() as session:
        await teams.ownership(session, team_id, account_id=account_id)
    await limits.admit(limits.TEAM_INVITATIONS, account=str(account_id), ip=caller.ip)
    may_mail = await _may_mail(address)
    async with transaction() as session:
        await teams.lock(session, team_id)
        await teams.ownership(session, team_id, account_id=account_id)
        await _forget_ended(session, team_id, now)
        members = [one.account_id for one in await teams.members_of(session, team_id)]
        known = await session.scalar(select(Account).where(Account.email_key == address.key))
        if known is not None and known.id in members:
            raise AlreadyInTeam(team=team_id)
        asked = await session.scalar(select(func.count()).where(Invitation.team_id == team_id)) or 0
        row = insert(Invitation).values(
            team_id=team_id,
            email=address.email,
            email_key=address.key,
            invited_by=account_id,
            created_at=now,
            expires_at=now + LIVES,
        )
        made = row.on_conflict_do_nothing(index_elements=["team_id", "email_key"]).returning(Invitation.id)
        invitation_id = await session.scalar(made)
        if invitation_id is None:
            return
        if len(members) + asked >= teams.MOST_MEMBERS:
            raise TeamFull(team=team_id)
        await audit.note(
            session, Action.TEAM_INVITED, account_id=account_id, caller=caller, about=f"invitation:{invitation_id}"
        )
        if may_mail:
            await _write(session, invitation_id, address, known, by=account_id, until=now + LIVES)
        else:
            logger.info("invitation_mail_withheld", invitation_id=str(invitation_id))


async def _may_mail(address: Address) -> bool:
    """Whether this address has not had too many of these mails of late, from whomever; the inviter is not told."""
    try:
        await limits.admit(limits.INVITED, account=address.key, ip="")
    except limits.TooManyTries:
        return False
    return True


async def _write(
    session: AsyncSession, invitation_id: UUID, address: Address, known: Account | None, *, by: UUID, until: datetime
) -> None:
    """Without the team's name, which may be any text: this mail goes to any address. The page says it."""
    has_account = known is not None and known.email_verified_at is not None and known.disabled_at is None
    await send(
        session,
        key=f"team_invitation:{invitation_id}",
        account_id=known.id if known is not None and has_account else None,
        recipient=address.email,
        template="team_invitation",
        facts={
            "inviter": (await profile.addresses(session, {by}))[by],
            "email": address.email,
            "invitation": str(invitation_id),
            "until": f"{until.day} {until:%b %Y}",
        },
    )


async def _forget_ended(session: AsyncSession, team_id: UUID, now: datetime) -> None:
    await session.execute(delete(Invitation).where(Invitation.team_id == team_id, Invitation.expires_at <= now))


async def of_team(session: AsyncSession, team_id: UUID, *, now: datetime) -> list[Invitation]:
    """Those that are open; for owners."""
    query = select(Invitation).where(Invitation.team_id == team_id, Invitation.expires_at > now)
    return list(await session.scalars(query.order_by(Invitation.id)))


async def withdraw(session: AsyncSession, team_id: UUID, invitation_id: UUID, *, account_id: UUID) -> None:
    """By an owner of the team. Raises NotFound."""
    await teams.ownership(session, team_id, account_id=account_id)
    of_it = (Invitation.id == invitation_id, Invitation.team_id == team_id)
    if await session.scalar(delete(Invitation).where(*of_it).returning(Invitation.id)) is None:
        raise NotFound(invitation=invitation_id)


@dataclass(frozen=True)
class Received:
    """An invitation as who got it sees it. by: the inviter's address; owners: what those are called who would see."""

    invitation: Invitation
    team: Team
    by: str
    owners: list[str]


async def to_account(session: AsyncSession, *, account_id: UUID, now: datetime) -> list[Received]:
    """The open invitations to the account's own address, the newest first."""
    query = (
        select(Invitation, Team, Account.email)
        .join(Team, Team.id == Invitation.team_id)
        .join(Account, Account.id == Invitation.invited_by)
        .where(Invitation.email_key == _key_of(account_id), Invitation.expires_at > now)
        .order_by(Invitation.id.desc())
    )
    rows = (await session.execute(query)).all()
    return [Received(one, team, by, await _owners(session, team.id)) for one, team, by in rows]


async def _owners(session: AsyncSession, team_id: UUID) -> list[str]:
    ids = [one.account_id for one in await teams.members_of(session, team_id) if one.role == TeamRole.OWNER]
    return sorted((await profile.names(session, ids)).values())


def _key_of(account_id: UUID) -> ScalarSelect[str]:
    return select(Account.email_key).where(Account.id == account_id).scalar_subquery()


async def received(session: AsyncSession, invitation_id: UUID, *, account_id: UUID, now: datetime) -> Received:
    """One of them. Raises NotFound for any that is answered, at its end, or to another address."""
    for one in await to_account(session, account_id=account_id, now=now):
        if one.invitation.id == invitation_id:
            return one
    raise NotFound(invitation=invitation_id)


async def accept(
    session: AsyncSession, invitation_id: UUID, *, account_id: UUID, sees: Sees, now: datetime, caller: Caller = NOBODY
) -> UUID:
    """Join, and say what owners see; the team's id. Raises NotFound, TooManyTeams."""
    found = await received(session, invitation_id, account_id=account_id, now=now)
    team = await teams.lock(session, found.team.id)  # before the invitation, as who deletes the team does
    await _take(session, invitation_id, account_id=account_id, now=now)
    await teams.refuse_too_many(session, account_id)
    joining = insert(Member).values(
        team_id=team.id,
        account_id=account_id,
        role=TeamRole.MEMBER,
        joined_at=now,
        content_since=now if sees == Sees.CONTENT else None,
    )
    if await session.scalar(joining.on_conflict_do_nothing().returning(Member.account_id)) is not None:
        about, facts = f"team:{team.id}", {"sees": sees}
        await audit.note(session, Action.TEAM_JOINED, account_id=account_id, caller=caller, about=about, facts=facts)
        await tell(session, team, Change.JOINED, about=account_id)
    return team.id


async def decline(session: AsyncSession, invitation_id: UUID, *, account_id: UUID, now: datetime) -> None:
    """Nobody is told; the invitation is gone. Raises NotFound."""
    await _take(session, invitation_id, account_id=account_id, now=now)


async def _take(session: AsyncSession, invitation_id: UUID, *, account_id: UUID, now: datetime) -> None:
    """Delete an open invitation to the account's own address; of two who answer it, one finds it."""
    mine = (Invitation.id == invitation_id, Invitation.email_key == _key_of(account_id), Invitation.expires_at > now)
    if await session.scalar(delete(Invitation).where(*mine).returning(Invitation.id)) is None:
        raise NotFound(invitation=invitation_id)
