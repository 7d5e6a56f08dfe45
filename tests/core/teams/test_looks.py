"""What owners see of a member: what was agreed to, from then on, and not without the member learning of it."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from core.accounts.models import Account
from core.database import transaction
from core.errors import NotFound
from core.teams import looks, teams
from core.teams.looks import NotShown
from core.teams.models import Look, LookedAt, Sees
from tests.core.teams.kit import DAY, NOW, make_people, make_team


async def content(team_id: UUID, viewer: UUID, member: UUID, consultation: UUID | None = None) -> object:
    async with transaction() as session:
        return await looks.at_content(
            session, team_id, viewer_id=viewer, member_id=member, now=NOW + DAY, consultation_id=consultation
        )


async def seen_by(account_id: UUID) -> list[Look]:
    async with transaction() as session:
        return await looks.of_account(session, account_id=account_id)


async def test_each_look_of_an_owner_is_written_to_the_member(house: object) -> None:
    owner, member = await make_people(2)
    team_id, consultation = await make_team(owner, member, sees=Sees.CONTENT), uuid4()

    async with transaction() as session:
        since = await looks.at_usage(session, team_id, viewer_id=owner, now=NOW + DAY)
    for one in (None, consultation):
        assert await content(team_id, owner, member, one) == NOW + timedelta(minutes=1)

    assert since == {owner: NOW, member: NOW + timedelta(minutes=1)}
    written = [(one.what, one.viewer_id, one.team_name, one.consultation_id, one.at) for one in await seen_by(member)]
    assert written == [
        (LookedAt.CONSULTATION, owner, "Support", consultation, NOW + DAY),
        (LookedAt.LIST, owner, "Support", None, NOW + DAY),
        (LookedAt.USAGE, owner, "Support", None, NOW + DAY),
    ]
    assert await seen_by(owner) == []


async def test_members_and_strangers_see_nothing_and_nothing_is_written(house: object) -> None:
    owner, member, other, stranger = await make_people(4)
    team_id = await make_team(owner, member, other, sees=Sees.CONTENT)

    for viewer in (other, stranger):
        async with transaction() as session:
            with pytest.raises(NotFound):
                await looks.at_usage(session, team_id, viewer_id=viewer, now=NOW)
        with pytest.raises(NotFound):
            await content(team_id, viewer, member)
    with pytest.raises(NotFound):
        await content(team_id, owner, stranger)
    with pytest.raises(NotFound):
        await content(team_id, member, owner)

    assert await seen_by(member) == []


@pytest.mark.parametrize("state", ["disabled_at", "restricted_at", "closing_at"])
async def test_without_the_members_yes_there_are_no_words_and_none_of_a_shut_restricted_or_closing_account(
    house: object, state: str
) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member)
    with pytest.raises(NotShown):
        await content(team_id, owner, member)
    async with transaction() as session:
        await teams.share(session, team_id, account_id=member, sees=Sees.CONTENT, now=NOW)
    await content(team_id, owner, member)
    async with transaction() as session:
        await session.execute(update(Account).where(Account.id == member).values({state: NOW}))

    with pytest.raises(NotShown):
        await content(team_id, owner, member)

    assert len(await seen_by(member)) == 1


async def test_after_leaving_nothing_is_seen_and_after_coming_back_nothing_of_before(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member, sees=Sees.CONTENT)
    async with transaction() as session:
        await teams.remove(session, team_id, account_id=member, member_id=member)

    with pytest.raises(NotFound):
        await content(team_id, owner, member)
    async with transaction() as session:
        assert member not in await looks.at_usage(session, team_id, viewer_id=owner, now=NOW)


async def test_who_is_no_owner_any_more_sees_nothing(house: object) -> None:
    owner, heir, member = await make_people(3)
    team_id = await make_team(owner, heir, member, sees=Sees.CONTENT)
    async with transaction() as session:
        await teams.transfer(session, team_id, account_id=owner, member_id=heir)

    with pytest.raises(NotFound):
        await content(team_id, owner, member)
    await content(team_id, heir, member)


async def test_a_look_is_not_changed_and_outlives_the_team(house: object) -> None:
    owner, member = await make_people(2)
    team_id = await make_team(owner, member, sees=Sees.CONTENT)
    await content(team_id, owner, member)
    async with transaction() as session:
        await teams.erase(session, team_id, account_id=owner)

    (look,) = await seen_by(member)
    with pytest.raises(DBAPIError, match="append-only"):
        async with transaction() as session:
            await session.execute(update(Look).where(Look.id == look.id).values(viewer_id=member))

    async with transaction() as session:
        assert await session.scalar(select(Look.viewer_id).where(Look.id == look.id)) == owner
