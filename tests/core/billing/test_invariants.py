"""Each rule of billing sees what breaks it, and what a test breaks is rolled back. Each looks at its own account."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.invariants import ALL, CHECKS
from core.billing.models import Purchase
from core.credits import invariants, ledger
from core.database import transaction
from tests.core.billing.kit import (
    ask_for_refund,
    bring_up_to_date,
    dispute_at_stripe,
    make_credited,
    refund_at_stripe,
    use,
)

pytestmark = pytest.mark.usefixtures("house")


async def broken(session: AsyncSession, purchase: Purchase) -> list[tuple[str, int, int]]:
    found = await invariants.violations(session, CHECKS)
    return [(one.rule, one.kept, one.expected) for one in found if one.account_id == purchase.account_id]


async def test_all_rules_hold_after_all_that_happens_to_a_purchase() -> None:
    purchase, payment = await make_credited()
    await use(purchase, 100_000)
    await refund_at_stripe(payment, 33)
    await bring_up_to_date(purchase)
    await ask_for_refund(purchase)
    await dispute_at_stripe(payment)
    await bring_up_to_date(purchase)

    async with transaction() as session:
        found = await invariants.violations(session, ALL)
        assert [one for one in found if one.account_id == purchase.account_id] == []


@pytest.mark.parametrize(
    ("damage", "rule", "kept", "expected"),
    [
        ("update purchases set credits_mc = 1 where id = :id", "each paid purchase brought", 500_000, 1),
        (
            "update purchases set state = 'open', paid_at = null where id = :id",
            "each paid purchase brought",
            500_000,
            0,
        ),
        ("update credit_lots set source = 'lost' where source = 'purchase:' || :id", "each paid purchase", 0, 500_000),
        ("update purchases set paid_at = now() - interval '1 hour' where id = :id", "a purchase that was paid", 0, 1),
        ("update purchases set reversed_minor = 5 where id = :id", "of a purchase's price", 5, 0),
        ("update purchases set reversed_minor = 5 where id = :id", "of a purchase's lot", 0, 5_000),
        (
            "insert into refunds (purchase_id, origin, amount_minor, state) values (:id, 'buyer', 7, 'requested')",
            "of a purchase's price",
            0,
            7,
        ),
        (
            "insert into disputes (id, purchase_id, amount_minor, status, reason) values ('dp', :id, 9, 'lost', 'x')",
            "of a purchase's price",
            0,
            9,
        ),
    ],
)
async def test_a_rule_that_is_broken_is_told_with_the_account(
    session: AsyncSession, damage: str, rule: str, kept: int, expected: int
) -> None:
    purchase, _ = await make_credited()
    assert await broken(session, purchase) == []

    await session.execute(text(damage.replace(":id", f"'{purchase.id}'")))

    told = await broken(session, purchase)
    assert (kept, expected) in [(one_kept, due) for name, one_kept, due in told if name.startswith(rule)]


async def test_credits_that_claim_to_be_bought_are_told(session: AsyncSession) -> None:
    purchase, _ = await make_credited()

    await ledger.grant(
        session, account_id=purchase.account_id, amount_mc=7, source=f"purchase:{purchase.id}:again", kind="purchase"
    )

    assert [kept for _, kept, _ in await broken(session, purchase)] == [7]
