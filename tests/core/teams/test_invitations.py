"""Invitations: answered by who has the address, until their day, and bounded."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from core import limits
from core.database import transaction
from core.errors import NotFound
from core.mail.models import Delivery
from core.notices import inbox
from core.teams import invitations, teams
from core.teams.invitations import LIVES, AlreadyInTeam, Received, TeamFull
from core.teams.models import Sees, TeamRole
from tests.core.teams.kit import DAY, NOW, email_of, invited, make_people, make_team, roles
from tests.makers import make_account


async def open_ones(account_id: UUID, at: timedelta = timedelta()) -> list[Received]:
    async with transaction() as session:
        return await invitations.to_account(session, account_id=account_id, now=NOW + at)


async def mails_to(email: str) -> list[Delivery]:
    query = select(Delivery).where(Delivery.recipient == email, Delivery.template == "team_invitation")
    async with transaction() as session:
        return list(await session.scalars(query))


async def accept(one: Received, account_id: UUID, at: timedelta = timedelta(), sees: Sees = Sees.USAGE) -> None:
    async with transaction() as session:
        await invitations.accept(session, one.invitation.id, account_id=account_id, sees=sees, now=NOW + at)


async def test_who_is_invited_sees_by_whom_and_joins_with_what_they_agree_to(house: object) -> None:
    owner, guest = await make_people(2)
    team_id = await make_team(owner)
    await invited(team_id, owner, (await email_of(guest)).upper().replace("@PEOPLE", "@people"))

    (one,) = await open_ones(guest)
    await accept(one, guest, DAY, Sees.CONTENT)

    assert (one.team.name, one.by, one.owners) == ("Support", await email_of(owner), ["Pat Person"])
    assert await open_ones(guest) == []
    async with transaction() as session:
        me = await teams.membership(session, team_id, account_id=guest)
    assert (me.role, me.joined_at, me.content_since) == (TeamRole.MEMBER, NOW + DAY, NOW + DAY)


async def test_it_is_told_alike_to_who_has_an_account_and_to_who_has_none(house: object) -> None:
    owner, guest = await make_people(2)
    team_id = await make_team(owner, name="win a prize at evil.example")
    for email in (await email_of(guest), stranger := f"{uuid4()}@people.example"):
        await invited(team_id, owner, email)

    (to_guest,), (to_stranger,) = await mails_to(await email_of(guest)), await mails_to(stranger)
    async with transaction() as session:
        (notice,) = await inbox.page(session, account_id=guest, after=None)

    assert to_guest.facts.keys() == to_stranger.facts.keys()
    assert "evil" not in str([to_guest.facts, to_stranger.facts, notice.facts])
    assert (to_guest.account_id, to_stranger.account_id) == (guest, None)
    assert notice.kind == "team_invitation"
    assert await email_of(owner) not in str(notice.facts)


async def test_who_registers_the_address_later_finds_it(house: object) -> None:
    (owner,) = await make_people(1)
    team_id, email = await make_team(owner), f"{uuid4()}@people.example"
    await invited(team_id, owner, email)

    async with transaction() as session:
        newcomer = await make_account(session, email=email)

    assert [one.team.id for one in await open_ones(newcomer)] == [team_id]


async def test_it_is_not_there_for_another_address_nor_after_its_day(house: object) -> None:
    owner, guest, other = await make_people(3)
    await invited(await make_team(owner), owner, await email_of(guest))
    (one,) = await open_ones(guest)

    for who, at in ((other, timedelta()), (guest, LIVES)):
        with pytest.raises(NotFound):
            await accept(one, who, at)
        async with transaction() as session:
            with pytest.raises(NotFound):
                await invitations.decline(session, one.invitation.id, account_id=who, now=NOW + at)

    assert await open_ones(guest, LIVES) == []
    assert len(await open_ones(guest, LIVES - timedelta(seconds=1))) == 1


async def test_a_declined_or_withdrawn_one_is_gone_and_nobody_joined(house: object) -> None:
    owner, guest = await make_people(2)
    team_id = await make_team(owner)
    await invited(team_id, owner, await email_of(guest))
    (one,) = await open_ones(guest)
    async with transaction() as session:
        await invitations.decline(session, one.invitation.id, account_id=guest, now=NOW)
    await invited(team_id, owner, await email_of(guest))
    (again,) = await open_ones(guest)
    async with transaction() as session:
        with pytest.raises(NotFound):
            await invitations.withdraw(session, team_id, again.invitation.id, account_id=guest)
    async with transaction() as session:
        await invitations.withdraw(session, team_id, again.invitation.id, account_id=owner)

    assert await open_ones(guest) == []
    assert await roles(team_id) == {owner: TeamRole.OWNER}


async def test_it_is_answered_once(house: object) -> None:
    owner, guest = await make_people(2)
    team_id = await make_team(owner)
    await invited(team_id, owner, await email_of(guest))
    (one,) = await open_ones(guest)

    outcomes = await asyncio.gather(*[accept(one, guest) for _ in range(3)], return_exceptions=True)

    assert sorted(type(each).__name__ for each in outcomes) == ["NoneType", "NotFound", "NotFound"]
    assert len(await roles(team_id)) == 2


async def test_asking_again_writes_no_second_mail_and_who_is_in_it_is_not_asked(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    stranger = f"{uuid4()}@people.example"

    for _ in range(2):
        await invited(team_id, owner, stranger)
    with pytest.raises(AlreadyInTeam):
        await invited(team_id, owner, await email_of(member))

    assert len(await mails_to(stranger)) == 1


async def test_only_an_owner_asks_and_not_too_often(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    with pytest.raises(NotFound):
        await invited(team_id, member, f"{uuid4()}@people.example")

    for _ in range(19):  # and the one for the member
        await invited(team_id, owner, "one@people.example")
    with pytest.raises(limits.TooManyTries):
        await invited(team_id, owner, "one@people.example")


async def test_nobody_is_flooded_by_many_inviters_and_they_are_not_told(house: object) -> None:
    stranger = f"{uuid4()}@people.example"
    for owner in await make_people(7):
        await invited(await make_team(owner), owner, stranger)

    async with transaction() as session:
        newcomer = await make_account(session, email=stranger)
    assert len(await mails_to(stranger)) == 5
    assert len(await open_ones(newcomer)) == 7


async def test_a_team_has_room_for_a_bounded_number(house: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "MOST_MEMBERS", 3)
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    await invited(team_id, owner, f"{uuid4()}@people.example")

    with pytest.raises(TeamFull):
        await invited(team_id, owner, f"{uuid4()}@people.example")
    await invited(team_id, owner, f"{uuid4()}@people.example", now=NOW + LIVES)  # the open one has ended


async def test_accepting_while_the_team_is_deleted_ends_in_one_of_both(house: object) -> None:
    """Several at once: whoever took what they hold in another order would have them wait for each other for ever."""
    owner, guest = await make_people(2)
    made = [await make_team(owner) for _ in range(8)]
    for team_id in made:
        await invited(team_id, owner, await email_of(guest))
    waiting = {one.team.id: one for one in await open_ones(guest)}

    async def delete(team_id: UUID) -> None:
        async with transaction() as session:
            await teams.erase(session, team_id, account_id=owner)

    changes = [change for one in made for change in (accept(waiting[one], guest), delete(one))]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)

    assert outcomes[1::2] == [None] * 8
    assert all(one is None or isinstance(one, NotFound) for one in outcomes[::2])
    assert [await roles(one) for one in made] == [{}] * 8
