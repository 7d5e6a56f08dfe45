"""What those in a team are told of it, by mail and in their inbox: never who it was, which stays on the team's page.

Mails and notices are kept longer than people may want to be in them, and are given to who they were written to.
"""

from enum import Enum
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.mail.deliveries import send
from core.teams.models import Member, Team, TeamRole


class Change(Enum):
    """What became of a member: as they are told, and as the others are."""

    JOINED = ("You joined the team “{}”.", "Somebody joined your team “{}”.")
    LEFT = (
        "You left the team “{}”. Its owners no longer see anything of what you do.",
        "Somebody left your team “{}”. You no longer see anything of what they do.",
    )
    REMOVED = (
        "An owner removed you from the team “{}”. Its owners no longer see anything of what you do.",
        "Somebody was removed from your team “{}”. You no longer see anything of what they do.",
    )
    OWNER = (
        "You are now an owner of the team “{}”, and see what its members show to owners.",
        "The team “{}” has a new owner, who sees what its members show to owners. You may leave it, or show less.",
    )
    NO_OWNER = (
        "You are no longer an owner of the team “{}”, and see nothing of its members any more.",
        "The team “{}” has an owner less.",
    )
    SHARES = (
        "You now show the owners of the team “{}” the words of consultations that you begin from now on.",
        "A member of your team “{}” now shows you the words of consultations that they begin from now on.",
    )
    HIDES = (
        "You no longer show the owners of the team “{}” the words of your consultations.",
        "A member of your team “{}” no longer shows you the words of consultations.",
    )
    DELETED = (
        "You deleted the team “{}”. Nobody sees anything of its members any more.",
        "The team “{}” was deleted. Nobody sees anything of what you do there any more.",
    )


TO_ALL = frozenset({Change.OWNER, Change.NO_OWNER, Change.DELETED})  # the rest is told to owners, and who it is about


async def tell(session: AsyncSession, team: Team, change: Change, *, about: UUID | None) -> None:
    """Write to those whom it concerns, with who it is about, also if they are in the team no more.

    about: None: somebody who is to be told nothing
    """
    of_team = select(Member.account_id).where(Member.team_id == team.id)
    if change not in TO_ALL:
        of_team = of_team.where(Member.role == TeamRole.OWNER)
    told = {*(await session.scalars(of_team))} | ({about} if about else set())
    to_them, to_others = change.value
    event = uuid4()
    for account in await profile.reachable(session, told):
        what = (to_them if account.id == about else to_others).format(team.name)
        await send(
            session,
            key=f"team_change:{event}:{account.id}",
            account_id=account.id,
            recipient=account.email,
            template="team_change",
            facts={"name": account.name, "what": what},
        )
