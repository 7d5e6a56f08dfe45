"""Which credits are spent, held, taken back or expired; after each test every rule of the ledger must hold."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits import adjustments, invariants, ledger
from core.credits.ledger import Balance, NotEnoughCredits
from core.credits.models import CreditEntry, CreditLot, EntryKind
from tests.makers import make_account

SOON = timedelta(days=1)


class Wallet:
    """One account and short words for its moves."""

    def __init__(self, session: AsyncSession, account_id: UUID) -> None:
        self.session, self.account_id = session, account_id

    async def grant(self, mc: int, *, expires_in: timedelta | None = None, kind: str = "purchase") -> str:
        source = f"{kind}:{uuid4()}"
        expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
        facts = {"account_id": self.account_id, "amount_mc": mc, "source": source, "kind": kind}
        assert await ledger.grant(self.session, expires_at=expires_at, **facts)  # type: ignore[arg-type]
        return source

    async def hold(self, mc: int) -> UUID:
        facts = {"account_id": self.account_id, "at_least_mc": mc, "at_most_mc": mc, "source": f"generation:{uuid4()}"}
        hold_id, _ = await ledger.hold(self.session, **facts)  # type: ignore[arg-type]
        return hold_id

    async def spend(self, mc: int) -> None:
        await ledger.settle(self.session, hold_id=await self.hold(mc), cost_mc=mc)

    async def reverse(self, source: str, target_mc: int, kind: EntryKind = EntryKind.REFUND) -> int:
        return await ledger.reverse_to(self.session, source=source, target_mc=target_mc, kind=kind)

    async def lot(self, source: str) -> dict[str, int]:
        found = await self.session.scalar(
            select(CreditLot).where(CreditLot.source == source).execution_options(populate_existing=True)
        )
        assert found is not None
        parts = ("left", "held", "spent", "reversed", "expired")
        return {part: mc for part in parts if (mc := getattr(found, f"{part}_mc"))}

    async def balance(self) -> Balance:
        return await ledger.balance(self.session, account_id=self.account_id)

    async def lines(self) -> list[tuple[str, int, int]]:
        query = select(CreditEntry).where(CreditEntry.account_id == self.account_id).order_by(CreditEntry.id)
        return [(one.kind, one.amount_mc, one.balance_after_mc) for one in await self.session.scalars(query)]


@pytest.fixture
async def wallet(session: AsyncSession) -> AsyncIterator[Wallet]:
    account_id = await make_account(session)
    yield Wallet(session, account_id)
    assert [one for one in await invariants.violations(session) if one.account_id == account_id] == []


async def test_what_expires_first_is_spent_first_then_what_is_oldest(wallet: Wallet) -> None:
    old = await wallet.grant(100)
    late = await wallet.grant(100, expires_in=2 * SOON, kind="promotion")
    soon = await wallet.grant(100, expires_in=SOON, kind="promotion")
    new = await wallet.grant(100)

    await wallet.spend(250)

    lots = [await wallet.lot(source) for source in (soon, late, old, new)]
    assert lots == [{"spent": 100}, {"spent": 100}, {"spent": 50, "left": 50}, {"left": 100}]


async def test_a_hold_pins_its_lots_and_gives_back_to_them(wallet: Wallet) -> None:
    soon = await wallet.grant(100, expires_in=SOON, kind="promotion")
    paid = await wallet.grant(100)
    hold_id = await wallet.hold(150)

    assert [await wallet.lot(soon), await wallet.lot(paid)] == [{"held": 100}, {"held": 50, "left": 50}]
    assert await ledger.settle(wallet.session, hold_id=hold_id, cost_mc=30) == 30

    assert [await wallet.lot(soon), await wallet.lot(paid)] == [{"left": 70, "spent": 30}, {"left": 100}]


async def test_what_is_held_outlives_its_date_and_what_is_free_does_not(wallet: Wallet) -> None:
    soon = await wallet.grant(100, expires_in=SOON, kind="promotion")
    hold_id = await wallet.hold(60)
    past = {"account": wallet.account_id}
    await wallet.session.execute(text("update credit_lots set expires_at = now() where account_id = :account"), past)

    with pytest.raises(NotEnoughCredits):
        await wallet.hold(10)  # the rest has gone, though no sweep has run
    assert await ledger.settle(wallet.session, hold_id=hold_id, cost_mc=50) == 50
    await ledger.expire_lots(wallet.session)

    assert await wallet.lot(soon) == {"spent": 50, "expired": 50}
    assert await wallet.lines() == [
        ("promotion", 100, 100),
        ("expiry", -40, 60),
        ("usage", -50, 10),
        ("expiry", -10, 0),
    ]


async def test_the_next_to_expire_is_named(wallet: Wallet) -> None:
    await wallet.grant(100)
    assert await ledger.next_expiry(wallet.session, account_id=wallet.account_id) is None
    await wallet.grant(70, expires_in=2 * SOON, kind="promotion")
    await wallet.grant(50, expires_in=SOON, kind="promotion")

    found = await ledger.next_expiry(wallet.session, account_id=wallet.account_id)

    assert found is not None
    assert found.amount_mc == 50


async def test_a_refund_takes_what_is_left_and_the_spent_rest_becomes_debt(wallet: Wallet) -> None:
    bought = await wallet.grant(500)
    await wallet.spend(300)

    assert await wallet.reverse(bought, 500) == -500
    assert await wallet.reverse(bought, 500) == 0

    assert await wallet.balance() == Balance(-300, 0, 300)
    assert await wallet.lot(bought) == {"reversed": 500}
    with pytest.raises(NotEnoughCredits):
        await wallet.hold(1)


async def test_the_next_purchase_pays_the_debt(wallet: Wallet) -> None:
    bought = await wallet.grant(500)
    await wallet.spend(300)
    await wallet.reverse(bought, 500)

    again = await wallet.grant(400)

    assert await wallet.balance() == Balance(100, 0, 0)
    assert await wallet.lot(again) == {"spent": 300, "left": 100}


async def test_a_refund_of_spent_credits_is_paid_by_other_lots(wallet: Wallet) -> None:
    first, second = await wallet.grant(100), await wallet.grant(100)
    await wallet.spend(100)

    await wallet.reverse(first, 100)

    assert await wallet.balance() == Balance(0, 0, 0)
    assert [await wallet.lot(first), await wallet.lot(second)] == [{"reversed": 100}, {"spent": 100}]


async def test_what_was_taken_back_too_much_is_restored(wallet: Wallet) -> None:
    bought = await wallet.grant(500)
    await wallet.spend(300)
    await wallet.reverse(bought, 500, EntryKind.DISPUTE)

    assert await wallet.reverse(bought, 0, EntryKind.DISPUTE) == 500

    assert await wallet.balance() == Balance(200, 0, 0)
    assert await wallet.lot(bought) == {"spent": 300, "left": 200}
    assert [kind for kind, _, _ in await wallet.lines()] == ["purchase", "usage", "dispute", "restored"]


async def test_a_running_answer_of_credits_that_were_taken_back_is_owed_only_for_what_it_cost(wallet: Wallet) -> None:
    bought = await wallet.grant(100)
    hold_id = await wallet.hold(80)

    await wallet.reverse(bought, 100)
    assert await wallet.balance() == Balance(0, 80, 80)
    await ledger.settle(wallet.session, hold_id=hold_id, cost_mc=30)

    assert await wallet.balance() == Balance(-30, 0, 30)


async def test_a_running_answer_of_credits_that_were_taken_back_is_covered_by_new_ones(wallet: Wallet) -> None:
    bought = await wallet.grant(100)
    hold_id = await wallet.hold(80)
    await wallet.reverse(bought, 100)

    again = await wallet.grant(100)
    assert await wallet.lot(again) == {"held": 80, "left": 20}
    assert await ledger.release(wallet.session, hold_id=hold_id)

    assert await wallet.lot(again) == {"left": 100}
    assert await wallet.balance() == Balance(100, 0, 0)


async def test_what_another_hold_gives_back_pays_what_is_owed(wallet: Wallet) -> None:
    first, second = await wallet.grant(100), await wallet.grant(100)
    await wallet.spend(100)
    hold_id = await wallet.hold(100)
    await wallet.reverse(first, 100)
    assert await wallet.balance() == Balance(0, 100, 100)

    await ledger.release(wallet.session, hold_id=hold_id)

    assert await wallet.balance() == Balance(0, 0, 0)
    assert await wallet.lot(second) == {"spent": 100}


async def test_an_admin_gives_and_takes_with_a_reason_once(wallet: Wallet) -> None:
    admin = await make_account(wallet.session)
    facts = {"account_id": wallet.account_id, "made_by": admin, "reason": "a test"}
    for _ in range(2):
        await adjustments.make(wallet.session, amount_mc=100, attempt_key="1", **facts)  # type: ignore[arg-type]
        await adjustments.make(wallet.session, amount_mc=-130, attempt_key="2", **facts)  # type: ignore[arg-type]

    assert await wallet.lines() == [("grant", 100, 100), ("correction", -130, -30)]
    assert await wallet.balance() == Balance(-30, 0, 30)


@pytest.mark.parametrize(
    "damage",
    [
        "update credit_accounts set balance_mc = balance_mc + 1, held_mc = held_mc + 1 where account_id = :account",
        "update credit_accounts set owed_mc = 1, held_mc = balance_mc + 1 where account_id = :account",
        "update credit_lots set left_mc = left_mc - 1, spent_mc = spent_mc + 1 where account_id = :account",
        "update credit_lots set held_mc = held_mc - 1, reversed_mc = reversed_mc + 1 where account_id = :account",
        "update credit_lots set left_mc = left_mc - 1, expired_mc = expired_mc + 1 where account_id = :account",
        "update credit_lots set amount_mc = amount_mc + 1, spent_mc = spent_mc + 1 where account_id = :account",
        "delete from credit_pins using credit_holds h where h.id = hold_id and h.account_id = :account",
        "update credit_holds set settled_mc = settled_mc - 1 where account_id = :account and state = 'settled'",
        """
        insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
        values (:account, 1, 71, 'restored', gen_random_uuid()::text)
        """,
    ],
)
async def test_what_differs_from_its_rows_is_found(session: AsyncSession, damage: str) -> None:
    account_id = await make_account(session)
    wallet = Wallet(session, account_id)
    await wallet.grant(100)
    await wallet.spend(30)
    await wallet.hold(20)
    assert [one for one in await invariants.violations(session) if one.account_id == account_id] == []

    await session.execute(text(damage), {"account": account_id})

    assert account_id in {one.account_id for one in await invariants.violations(session)}
