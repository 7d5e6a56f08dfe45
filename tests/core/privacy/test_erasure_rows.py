"""The rows of an erased person: what goes, what stays and says nothing, and that the books still add up."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import profile, standing
from core.audit import Action, AuditEntry
from core.billing.invariants import ALL
from core.credits import invariants, ledger
from core.credits.models import EntryKind
from core.database import transaction
from core.errors import NotFound
from core.mail import deliveries
from core.privacy import erasure, erasure_rows
from core.privacy.registry import Erasure
from core.privacy.tables import TABLES
from core.teams import teams
from core.teams.models import Member, Team, TeamRole
from tests.core.privacy.lives import make_life, places_with, sums
from tests.makers import make_account

NOW = datetime(2028, 3, 1, 12, 0, tzinfo=UTC)


async def erase(account_id: UUID) -> dict[str, object]:
    async with transaction() as session:
        return await erasure.erase_rows(session, account_id, now=NOW)


async def test_nothing_of_the_person_is_left_but_what_the_list_keeps_and_others_are_untouched(
    session: AsyncSession,
) -> None:
    person, other = await make_life(), await make_life()
    before = await places_with(session, *person.marks)
    others = await sums(session, other.id)
    await session.rollback()

    told = await erase(person.id)

    left = await places_with(session, *person.marks)
    assert len(before) >= 20, sorted(before)  # the test looks where there was something
    assert left == {}
    assert await sums(session, other.id) == others
    assert {one["class"] for one in told["gone"]} >= {"account", "usage", "transcript", "media", "mail"}  # type: ignore[attr-defined]
    assert all(one["why"] for one in told["stays"])  # type: ignore[attr-defined]


async def test_the_person_of_these_tests_has_a_row_in_every_table_that_may_hold_their_words(
    session: AsyncSession,
) -> None:
    person = await make_life()

    empty = set()
    for table in TABLES:
        if table.owner and table.erasure in (Erasure.DELETED, Erasure.BLANKED):
            theirs = text(f"select exists (select from {table.name} where {table.owner})")  # noqa: S608  # the registry's words
            if not (await session.execute(theirs, {"account": person.id})).scalar_one():
                empty.add(table.name)

    assert empty == set()


async def test_each_table_is_done_with_as_the_list_says(session: AsyncSession) -> None:
    person = await make_life()

    await erase(person.id)

    for table in TABLES:
        if table.owner and table.erasure is Erasure.DELETED:
            left = text(f"select count(*) from {table.name} where {table.owner}")  # noqa: S608  # the registry's words
            assert (await session.execute(left, {"account": person.id})).scalar_one() == 0, table.name
    account = await profile.get_account(session, account_id=person.id)
    assert (account.email, account.name, account.company) == (f"{person.id}@erased.invalid", "", None)
    assert account.erased_at == NOW


async def test_erased_twice_is_once(session: AsyncSession) -> None:
    person = await make_life()
    await erase(person.id)
    before = await sums(session, person.id)
    await session.rollback()

    again = await erase(person.id)

    assert again["gone"] == []
    assert await sums(session, person.id) == before


async def test_the_books_still_add_up_and_unused_credits_have_lapsed(session: AsyncSession) -> None:
    person = await make_life()

    await erase(person.id)

    assert (await ledger.balance(session, account_id=person.id)).available_mc == 0
    about = {str(one.account_id) for one in await invariants.violations(session, ALL)}
    assert str(person.id) not in about


async def test_a_debt_stays_under_the_number_and_holds_nothing_up(account_id: UUID, session: AsyncSession) -> None:
    async with transaction() as one:
        await ledger.take(
            one, account_id=account_id, amount_mc=7_000, source=f"test:{account_id}", kind=EntryKind.CORRECTION
        )

    await erase(account_id)

    assert (await ledger.balance(session, account_id=account_id)).debt_mc == 7_000


async def test_a_team_of_theirs_goes_to_who_is_in_it_for_the_longest(account_id: UUID, session: AsyncSession) -> None:
    async with transaction() as one:
        other = await make_account(one)
        team = await teams.make(one, account_id=account_id, name="Letters", now=NOW)
        one.add(Member(team_id=team.id, account_id=other, role=TeamRole.MEMBER, joined_at=NOW))
        alone = await teams.make(one, account_id=account_id, name="Alone", now=NOW)

    told = await erase(account_id)

    assert told["teams"] == {"handed": 1, "deleted": 1}
    assert [mine.team.id for mine in await teams.of_account(session, account_id=other)] == [team.id]
    assert await session.get(Team, alone.id) is None


async def test_the_address_can_be_registered_anew_and_nothing_opens_the_old_account(
    account_id: UUID, session: AsyncSession
) -> None:
    email = (await profile.get_account(session, account_id=account_id)).email
    await session.rollback()

    await erase(account_id)

    async with transaction() as one:
        assert await make_account(one, email=email) != account_id
    with pytest.raises(NotFound):
        async with transaction() as one:
            await standing.enable(one, account_id=account_id, reason="a slip")


async def test_the_log_forgets_of_erased_people_only_and_only_from_where(account_id: UUID) -> None:
    async with transaction() as one:
        await audit.note(one, Action.SIGNED_IN, account_id=account_id, caller=audit.Caller(ip="192.0.2.1"))
    mine = update(AuditEntry).where(AuditEntry.account_id == account_id)

    with pytest.raises(DBAPIError, match="append-only"):
        async with transaction() as one:
            await one.execute(mine.values(ip=""))
    await erase(account_id)
    with pytest.raises(DBAPIError, match="append-only"):
        async with transaction() as one:
            await one.execute(mine.values(action="signed_out"))
    with pytest.raises(DBAPIError, match="append-only"):
        async with transaction() as one:
            await one.execute(mine.values(ip="192.0.2.99"))


async def test_an_admins_own_address_stays_with_what_they_did_to_the_account(session: AsyncSession) -> None:
    async with transaction() as one:
        person, admin = await make_account(one), await make_account(one)
        caller = audit.Caller(ip="192.0.2.7", user_agent="an admin's")
        facts = {"reason": "what they wrote of the person"}
        await audit.note(one, Action.DISABLED, account_id=person, actor_id=admin, caller=caller, facts=facts)

    await erase(person)
    kept = (await session.scalars(select(AuditEntry).where(AuditEntry.account_id == person))).one()
    assert (kept.ip, kept.facts) == ("192.0.2.7", {})
    await session.rollback()

    await erase(admin)
    kept = (await session.scalars(select(AuditEntry).where(AuditEntry.account_id == person))).one()
    assert (kept.ip, kept.user_agent) == ("", "")


async def test_to_erased_people_nothing_is_written(account_id: UUID, session: AsyncSession) -> None:
    await erase(account_id)
    account = await profile.get_account(session, account_id=account_id)

    sent = await deliveries.send(
        session, key="k", account_id=account_id, recipient=account.email, template="refund_sent", facts={}
    )

    assert not sent


async def test_what_goes_and_what_stays_is_told_before(account_id: UUID, session: AsyncSession) -> None:
    person = await make_life()

    little = dict(await erasure_rows.what_stays(session, account_id))
    much = dict(await erasure_rows.what_stays(session, person.id))

    assert len(erasure_rows.what_goes()) >= 4
    assert set(little.values()) == {3650, 730}  # the number, and that it was asked for
    assert little.keys() < much.keys()
    assert {365, 730, 3650, None} <= set(much.values())
