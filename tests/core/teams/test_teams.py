"""Who is in a team, and that it has an owner whatever happens at the same time."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core.accounts import standing
from core.accounts.models import Account
from core.audit import Action, AuditEntry
from core.database import transaction
from core.errors import ClofyError, NotFound
from core.mail.models import Delivery
from core.teams import teams
from core.teams.models import Invitation, Sees, Team, TeamRole
from tests.core.teams.kit import DAY, NOW, email_of, invited, join, make_people, make_team, roles

OWNER, MEMBER = TeamRole.OWNER, TeamRole.MEMBER


async def remove(team_id: UUID, by: UUID, member: UUID) -> None:
    async with transaction() as session:
        await teams.remove(session, team_id, account_id=by, member_id=member)


async def set_role(team_id: UUID, by: UUID, member: UUID, role: TeamRole) -> None:
    async with transaction() as session:
        await teams.set_role(session, team_id, account_id=by, member_id=member, role=role)


async def outcome(change: Awaitable[None]) -> str:
    try:
        await change
    except ClofyError as error:
        return error.code
    return "done"


async def told(account_id: UUID) -> list[str]:
    """What the account was written about its teams, in order."""
    query = select(Delivery.facts).where(Delivery.account_id == account_id, Delivery.template == "team_change")
    async with transaction() as session:
        return [facts["what"] for facts in await session.scalars(query.order_by(Delivery.id))]


async def test_who_makes_a_team_owns_it_and_shows_nothing(house: object) -> None:
    (owner,) = await make_people(1)

    team_id = await make_team(owner)

    async with transaction() as session:
        (mine,) = await teams.of_account(session, account_id=owner)
    assert (mine.team.id, mine.team.name, mine.members) == (team_id, "Support", 1)
    assert (mine.me.role, mine.me.sees) == (OWNER, Sees.USAGE)


async def test_a_team_is_not_there_for_others_and_not_to_be_changed_by_members(house: object) -> None:
    owner, member, stranger = await make_people(3)
    team_id = await make_team(owner, member)

    for who in (member, stranger):
        assert await outcome(set_role(team_id, who, owner, MEMBER)) == "not-found"
        assert await outcome(remove(team_id, who, owner)) == "not-found"
        async with transaction() as session:
            with pytest.raises(NotFound):
                await teams.rename(session, team_id, account_id=who, name="Theirs")
            with pytest.raises(NotFound):
                await teams.erase(session, team_id, account_id=who)

    assert await roles(team_id) == {owner: OWNER, member: MEMBER}


async def test_a_member_leaves_at_any_time_and_is_removed_by_an_owner(house: object) -> None:
    owner, leaves, removed = await make_people(3)
    team_id = await make_team(owner, leaves, removed)

    await remove(team_id, leaves, leaves)
    await remove(team_id, owner, removed)

    assert await roles(team_id) == {owner: OWNER}
    assert (await told(leaves))[-1].startswith("You left the team “Support”.")
    assert (await told(removed))[-1].startswith("An owner removed you from the team “Support”.")
    async with transaction() as session:
        noted = select(AuditEntry.action, AuditEntry.actor_id).where(AuditEntry.account_id == removed)
        assert (Action.TEAM_REMOVED, owner) in {(one.action, one.actor_id) for one in await session.execute(noted)}


async def test_the_last_owner_neither_leaves_nor_steps_down(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)

    assert await outcome(remove(team_id, owner, owner)) == "last-owner"
    assert await outcome(set_role(team_id, owner, owner, MEMBER)) == "last-owner"
    assert await roles(team_id) == {owner: OWNER, member: MEMBER}


@pytest.mark.parametrize("way", ["leave", "step down", "remove each other"])
async def test_of_two_owners_who_go_at_once_one_stays(house: object, way: str) -> None:
    one, two, member = await make_people(3)
    team_id = await make_team(one, two, member)
    await set_role(team_id, one, two, OWNER)
    changes = {
        "leave": [remove(team_id, one, one), remove(team_id, two, two)],
        "step down": [set_role(team_id, one, one, MEMBER), set_role(team_id, two, two, MEMBER)],
        "remove each other": [remove(team_id, one, two), remove(team_id, two, one)],
    }

    outcomes = await asyncio.gather(*[outcome(change) for change in changes[way]])
    for name in changes.keys() - {way}:
        for unused in changes[name]:
            unused.close()

    assert sorted(outcomes) in (["done", "last-owner"], ["done", "not-found"])
    assert sum(role == OWNER for role in (await roles(team_id)).values()) == 1


async def test_a_team_that_is_given_away_has_its_new_owner_and_all_are_told(house: object) -> None:
    owner, heir, third = await make_people(3)
    team_id = await make_team(owner, heir, third)

    async with transaction() as session:
        await teams.transfer(session, team_id, account_id=owner, member_id=heir)

    assert await roles(team_id) == {heir: OWNER, owner: MEMBER, third: MEMBER}
    assert (await told(heir))[-2].startswith("You are now an owner")
    assert (await told(owner))[-1].startswith("You are no longer an owner")
    assert any("has a new owner" in one for one in await told(third))


async def test_what_people_are_told_names_nobody(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    await remove(team_id, member, member)

    assert len(await told(owner)) == 2
    assert not any("Pat" in one for one in await told(owner))


async def test_a_deleted_team_takes_its_members_and_invitations_along(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    await invited(team_id, owner, f"{uuid4()}@people.example")

    async with transaction() as session:
        await teams.erase(session, team_id, account_id=owner)

    async with transaction() as session:
        assert await session.get(Team, team_id) is None
        assert await session.scalar(select(func.count()).where(Invitation.team_id == team_id)) == 0
        assert await teams.of_account(session, account_id=member) == []
    assert (await told(member))[-1].startswith("The team “Support” was deleted.")


async def test_one_is_in_a_bounded_number_of_teams_however_many_are_made_at_once(house: object) -> None:
    (owner,) = await make_people(1)
    for _ in range(teams.MOST_TEAMS - 2):
        await make_team(owner)

    async def make() -> None:
        await make_team(owner)

    outcomes = await asyncio.gather(*[outcome(make()) for _ in range(4)])

    assert sorted(outcomes) == ["done", "done", "too-many-teams", "too-many-teams"]


async def test_showing_less_works_at_once_and_showing_more_from_then_on(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member, sees=Sees.CONTENT)

    async with transaction() as session:
        hidden = await teams.share(session, team_id, account_id=member, sees=Sees.USAGE, now=NOW + DAY)
        assert hidden.content_since is None
    async with transaction() as session:
        shown = await teams.share(session, team_id, account_id=member, sees=Sees.CONTENT, now=NOW + 2 * DAY)
        assert shown.content_since == NOW + 2 * DAY
        again = await teams.share(session, team_id, account_id=member, sees=Sees.CONTENT, now=NOW + 3 * DAY)
        assert again.content_since == NOW + 2 * DAY

    assert [one.split(" the words")[0] for one in (await told(owner))[-2:]] == [
        "A member of your team “Support” no longer shows you",
        "A member of your team “Support” now shows you",
    ]


async def hand_over(account_id: UUID) -> list[teams.HandedOver]:
    async with transaction() as session:
        return await teams.hand_over(session, account_id, NOW)


async def test_an_owner_who_is_erased_leaves_the_team_to_the_other_owner(house: object) -> None:
    owner, other, member = await make_people(3)
    team_id = await make_team(owner, member, other)
    await set_role(team_id, owner, other, OWNER)

    assert await hand_over(owner) == [teams.HandedOver(team_id, "Support", "left")]

    assert await roles(team_id) == {other: OWNER, member: MEMBER}
    assert not any(one.startswith("You left") for one in await told(owner))


async def test_else_the_longest_member_whose_account_is_open_becomes_its_owner_and_is_told(house: object) -> None:
    owner, shut, closing, heir, last = await make_people(5)
    team_id = await make_team(owner, shut, closing, heir, last)
    async with transaction() as session:
        await standing.disable(session, account_id=shut, reason="a test")
        await session.execute(update(Account).where(Account.id == closing).values(closing_at=NOW + DAY))

    assert await hand_over(owner) == [teams.HandedOver(team_id, "Support", "handed", heir)]

    assert await roles(team_id) == {heir: OWNER, shut: MEMBER, closing: MEMBER, last: MEMBER}
    assert (await told(heir))[-1].startswith("You are now an owner")
    assert "has a new owner" in (await told(last))[-1]


async def test_a_team_in_which_nobody_is_left_is_deleted_and_all_of_it_happens_once(house: object) -> None:
    owner, host = await make_people(2)
    alone = await make_team(owner, name="Alone")
    of_host = await make_team(host, owner, name="Guests")
    await invited(alone, owner, f"{uuid4()}@people.example")

    became = {one.name: one.became for one in await hand_over(owner)}

    assert became == {"Alone": "deleted", "Guests": "left"}
    assert await hand_over(owner) == []
    assert await roles(of_host) == {host: OWNER}
    async with transaction() as session:
        assert await session.get(Team, alone) is None


async def test_invitations_to_and_by_who_is_erased_end(house: object) -> None:
    gone, owner = await make_people(2)
    team_id = await make_team(owner, gone)
    await set_role(team_id, owner, gone, OWNER)
    await invited(team_id, gone, f"{uuid4()}@people.example")
    other = await make_team(owner)
    await invited(other, owner, await email_of(gone))

    await hand_over(gone)

    async with transaction() as session:
        left = select(func.count()).where(Invitation.team_id.in_([team_id, other]))
        assert await session.scalar(left) == 0


async def test_a_handing_over_and_a_leaving_at_once_leave_an_owner_or_no_team(house: object) -> None:
    owner, other = await make_people(2)
    team_id = await make_team(owner)
    await join(team_id, owner, other)
    await set_role(team_id, owner, other, OWNER)

    handed, left = await asyncio.gather(hand_over(owner), outcome(remove(team_id, other, other)))

    found = await roles(team_id)
    assert found == ({other: OWNER} if left == "last-owner" else {})
    assert handed[0].became == ("left" if found else "deleted")
