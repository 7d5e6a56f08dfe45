"""The statement: filtered, with its causes; and months that add up, whatever happened in them."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits import adjustments, ledger, statement
from core.credits.models import EntryKind
from core.credits.statement import Filter
from core.database import transaction
from tests.makers import make_account

MONTHS = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 2, 4)]


async def enter(session: AsyncSession, account_id: UUID, at: datetime, amount_mc: int, kind: EntryKind) -> None:
    """An entry of another day, as the ledger's moves write it."""
    await session.execute(
        text("""
            with moved as (
                insert into credit_accounts (account_id, balance_mc, owed_mc)
                values (:account_id, cast(:amount as bigint), greatest(-cast(:amount as bigint), 0))
                on conflict (account_id) do update set balance_mc = credit_accounts.balance_mc + excluded.balance_mc,
                    owed_mc = greatest(-(credit_accounts.balance_mc + excluded.balance_mc), 0)
                returning balance_mc
            )
            insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source, created_at)
            select :account_id, :amount, balance_mc, :kind, :source, :at from moved
        """),
        {"account_id": account_id, "amount": amount_mc, "kind": kind, "source": f"test:{uuid4()}", "at": at},
    )


GIVES = (EntryKind.PURCHASE, EntryKind.GRANT, EntryKind.PROMOTION, EntryKind.RESTORED)
TAKES = tuple(set(EntryKind) - set(GIVES))
moves = st.lists(
    st.tuples(
        st.sampled_from(MONTHS),
        st.one_of(
            st.tuples(st.sampled_from(GIVES), st.integers(1, 10**12)),
            st.tuples(st.sampled_from(sorted(TAKES)), st.integers(-(10**12), -1)),
        ),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("house")
@settings(max_examples=60, deadline=None)
@given(moves=moves)
async def test_months_add_up_whatever_happened_in_them(moves: list[tuple[datetime, tuple[EntryKind, int]]]) -> None:
    async with transaction() as session:
        account_id = await make_account(session)
        balance = 0
        closing: dict[date, int] = {}
        for at, (kind, amount_mc) in sorted(moves, key=lambda move: move[0]):
            await enter(session, account_id, at, amount_mc, kind)
            balance += amount_mc
            closing[at.date().replace(day=1)] = balance
        found = await statement.months(session, account_id=account_id)
        await session.rollback()

    assert {month.first: month.closing_mc for month in found} == closing
    assert [month.first for month in found] == sorted(closing, reverse=True)
    opening = 0
    for month in reversed(found):
        assert month.opening_mc == opening
        assert min(month.came_in_mc, month.used_mc, month.returned_mc, month.expired_mc) >= 0
        taken = month.used_mc + month.returned_mc + month.expired_mc
        assert month.closing_mc == month.opening_mc + month.came_in_mc - taken
        opening = month.closing_mc


async def test_a_month_is_one_of_utc(session: AsyncSession) -> None:
    account_id = await make_account(session)
    last_second = datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC)
    await enter(session, account_id, last_second, 500, EntryKind.GRANT)
    await enter(session, account_id, last_second + timedelta(seconds=1), -200, EntryKind.USAGE)
    await session.execute(text("set local time zone 'Pacific/Auckland'"))

    june, may = await statement.months(session, account_id=account_id)

    assert (may.first, may.came_in_mc, may.closing_mc) == (date(2026, 5, 1), 500, 500)
    assert (june.first, june.opening_mc, june.used_mc, june.closing_mc) == (date(2026, 6, 1), 500, 200, 300)


async def test_lines_are_of_a_kind_and_of_days_of_utc(session: AsyncSession) -> None:
    account_id = await make_account(session)
    noon = datetime(2026, 5, 3, 12, tzinfo=UTC)
    await enter(session, account_id, noon, 500, EntryKind.GRANT)
    await enter(session, account_id, noon + timedelta(hours=11, minutes=59), -200, EntryKind.USAGE)
    await enter(session, account_id, noon + timedelta(hours=12), -100, EntryKind.USAGE)

    async def amounts(only: Filter) -> list[int]:
        return [line.amount_mc for line in await statement.entries(session, account_id=account_id, only=only)]

    assert await amounts(Filter()) == [-100, -200, 500]
    assert await amounts(Filter(kind=EntryKind.USAGE)) == [-100, -200]
    assert await amounts(Filter(since=date(2026, 5, 4))) == [-100]
    assert await amounts(Filter(until=date(2026, 5, 3))) == [-200, 500]
    assert await amounts(Filter(EntryKind.GRANT, date(2026, 5, 3), date(2026, 5, 3))) == [500]
    assert await amounts(Filter(since=date.min, until=date.max)) == [-100, -200, 500]


async def test_a_line_knows_the_admins_reason_and_when_credits_expire(session: AsyncSession) -> None:
    admin, account_id = await make_account(session), await make_account(session)
    ends = datetime(2027, 1, 1, tzinfo=UTC)
    facts = {"account_id": account_id, "made_by": admin}
    given = {"amount_mc": 500, "reason": "Welcome", "attempt_key": "1", "expires_at": ends}
    await adjustments.make(session, **facts, **given)  # type: ignore[arg-type]  # of one type each
    await adjustments.make(session, amount_mc=-100, reason="A mistake", attempt_key="2", **facts)  # type: ignore[arg-type]
    await ledger.grant(session, account_id=account_id, amount_mc=1, source=f"seed:{account_id}", kind="grant")

    lines = await statement.entries(session, account_id=account_id)
    reasons = await statement.reasons(session, lines)

    told = [(reasons[line.id].reason, reasons[line.id].expires_at) for line in lines]
    assert told == [(None, None), ("A mistake", None), ("Welcome", ends)]
