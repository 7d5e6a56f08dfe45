import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits import ledger, statement
from core.credits.ledger import NotEnoughCredits
from core.credits.models import CreditAccount, CreditEntry, CreditHold
from core.database import transaction


async def held(session: AsyncSession, account_id: UUID, mc: int) -> UUID:
    hold_id, amount = await ledger.hold(
        session, account_id=account_id, at_least_mc=mc, at_most_mc=mc, source=f"generation:{uuid4()}"
    )
    assert amount == mc
    return hold_id


async def test_a_source_is_credited_once(session: AsyncSession, account_id: UUID) -> None:
    facts = {"account_id": account_id, "amount_mc": 5000, "kind": "purchase"}

    first = await ledger.grant(session, source="purchase:1", **facts)  # type: ignore[arg-type]
    second = await ledger.grant(session, source="purchase:1", **facts)  # type: ignore[arg-type]

    assert (first, second) == (True, False)
    assert (await ledger.balance(session, account_id=account_id)).balance_mc == 5000


async def test_a_source_is_credited_once_when_twenty_come_at_once(account_id: UUID) -> None:
    source = f"purchase:{uuid4()}"

    async def credit() -> bool:
        async with transaction() as session:
            return await ledger.grant(session, account_id=account_id, amount_mc=5000, source=source, kind="purchase")

    added = await asyncio.gather(*[credit() for _ in range(20)])

    assert sum(added) == 1
    async with transaction() as session:
        assert (await ledger.balance(session, account_id=account_id)).balance_mc == 5000


async def test_an_account_that_never_had_any_credits_holds_none(session: AsyncSession, account_id: UUID) -> None:
    with pytest.raises(NotEnoughCredits):
        await held(session, account_id, 1)


async def test_a_hold_shrinks_to_what_there_is_and_not_below_its_minimum(
    session: AsyncSession, account_id: UUID
) -> None:
    await ledger.grant(session, account_id=account_id, amount_mc=1000, source=f"t:{account_id}", kind="grant")
    facts = {"account_id": account_id, "at_least_mc": 300}

    _, whole = await ledger.hold(session, at_most_mc=600, source="generation:a", **facts)  # type: ignore[arg-type]
    _, shrunk = await ledger.hold(session, at_most_mc=600, source="generation:b", **facts)  # type: ignore[arg-type]

    assert (whole, shrunk) == (600, 400)
    with pytest.raises(NotEnoughCredits) as refused:
        await ledger.hold(session, at_most_mc=600, source="generation:c", **facts)  # type: ignore[arg-type]
    assert refused.value.facts == {"needed_mc": 300, "available_mc": 0}


async def test_of_two_hundred_holds_on_credits_for_three_three_are_admitted(account_id: UUID) -> None:
    async with transaction() as session:
        await ledger.grant(session, account_id=account_id, amount_mc=3000, source=f"t:{account_id}", kind="grant")

    async def spend() -> bool:
        try:
            async with transaction() as session:
                await held(session, account_id, 1000)
        except NotEnoughCredits:
            return False
        return True

    admitted = await asyncio.gather(*[spend() for _ in range(200)])

    assert sum(admitted) == 3
    async with transaction() as session:
        assert await ledger.balance(session, account_id=account_id) == ledger.Balance(3000, 3000)


async def test_a_settlement_takes_the_cost_once_and_gives_the_rest_back(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)

    taken = [await ledger.settle(session, hold_id=hold_id, cost_mc=400) for _ in range(2)]

    assert taken == [400, None]
    assert await ledger.release(session, hold_id=hold_id) is False
    assert await ledger.balance(session, account_id=rich_id) == ledger.Balance(999_600, 0)


async def test_a_settlement_never_takes_more_than_was_held(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)

    assert await ledger.settle(session, hold_id=hold_id, cost_mc=5000) == 1000


async def test_a_settlement_for_nothing_leaves_no_line(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)

    assert await ledger.settle(session, hold_id=hold_id, cost_mc=0) == 0

    assert len(await statement.entries(session, account_id=rich_id)) == 1  # the grant


async def test_a_release_is_once(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)

    assert [await ledger.release(session, hold_id=hold_id) for _ in range(2)] == [True, False]
    assert await ledger.balance(session, account_id=rich_id) == ledger.Balance(1_000_000, 0)


async def test_settle_and_release_at_once_resolve_a_hold_once(rich_id: UUID) -> None:
    async with transaction() as session:
        hold_id = await held(session, rich_id, 1000)

    async def settle() -> bool:
        async with transaction() as session:
            return await ledger.settle(session, hold_id=hold_id, cost_mc=400) is not None

    async def release() -> bool:
        async with transaction() as session:
            return await ledger.release(session, hold_id=hold_id)

    resolved = await asyncio.gather(*[one() for _ in range(10) for one in (settle, release)])

    assert sum(resolved) == 1
    async with transaction() as session:
        after = await ledger.balance(session, account_id=rich_id)
        assert after.held_mc == 0
        assert after.balance_mc in (1_000_000, 999_600)


async def test_entries_never_change(session: AsyncSession, rich_id: UUID) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(update(CreditEntry).where(CreditEntry.account_id == rich_id).values(amount_mc=1))
    await session.rollback()
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(delete(CreditEntry).where(CreditEntry.account_id == rich_id))


async def test_the_database_itself_refuses_to_overspend(session: AsyncSession, rich_id: UUID) -> None:
    spend = update(CreditAccount).where(CreditAccount.account_id == rich_id).values(balance_mc=-1)

    with pytest.raises(IntegrityError, match=r"never_below_zero|has_nothing_free"):
        await session.execute(spend)


async def test_the_database_itself_refuses_to_resolve_a_hold_for_more_than_it_holds(
    session: AsyncSession, rich_id: UUID
) -> None:
    hold_id = await held(session, rich_id, 1000)
    mint = update(CreditHold).where(CreditHold.id == hold_id)

    with pytest.raises(IntegrityError, match="settles_within"):
        await session.execute(mint.values(state="settled", settled_mc=1001, resolved_at=datetime.now(UTC)))


async def test_a_cost_below_zero_is_refused(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)

    with pytest.raises(ValueError, match="never pays"):
        await ledger.settle(session, hold_id=hold_id, cost_mc=-1)


async def test_expired_holds_are_found(session: AsyncSession, rich_id: UUID) -> None:
    hold_id = await held(session, rich_id, 1000)
    later = datetime.now(UTC) + ledger.HOLD_LIFE + timedelta(seconds=1)

    found = await ledger.expired_holds(session, now=later)

    assert hold_id in [one.id for one in found]
