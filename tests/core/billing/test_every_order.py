"""Whatever order words of Stripe's are taken up in, the end is what Stripe says.

Each event makes us ask, and the answer is as old as that: it is taken up in every order of the six, so that older
answers come after later ones. Over HTTP, by the real tasks: tests/workers/test_every_order.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import taking_up
from core.billing.invariants import ALL
from core.billing.models import Purchase
from core.billing.taking_up import Known, Outcome, Word
from core.credits import invariants, ledger
from core.database import transaction
from tests.core.billing.kit import (
    at_stripe,
    close_dispute,
    dispute_at_stripe,
    know,
    make_purchase,
    pay,
    refund_at_stripe,
)

pytestmark = pytest.mark.usefixtures("house")


async def history(purchase: Purchase, session_id: str, *, ends: str) -> list[Word]:
    """Completed, paid later, two partial refunds, a dispute, its end; and what Stripe answered after each."""
    known = await know(purchase)
    await pay(session_id, "delayed")
    words = [await taking_up.ask_stripe(known)]
    await at_stripe("POST", f"/control/stripe/sessions/{session_id}/settle", {"succeeds": True})
    words.append(await taking_up.ask_stripe(known))
    payment = words[0].checkout.payment_intent
    assert payment is not None
    for amount_minor in (100, 150):
        await refund_at_stripe(payment, amount_minor)
        words.append(await taking_up.ask_stripe(known))
    dispute = await dispute_at_stripe(payment)
    words.append(await taking_up.ask_stripe(known))
    await close_dispute(dispute, ends)
    words.append(await taking_up.ask_stripe(known))
    return words


async def kept_by_stripe(payment: str | None) -> int:
    """What is ours of a payment by Stripe's own books, in minor units."""
    [charge] = (await at_stripe("GET", f"/v1/charges?payment_intent={payment}"))["data"]
    disputes = (await at_stripe("GET", f"/v1/disputes?payment_intent={payment}"))["data"]
    lost = sum(one["amount"] for one in disputes if one["status"] != "won")
    kept: int = charge["amount"] - charge["amount_refunded"] - lost
    return kept


@dataclass
class Orders:
    """All orders of these words, each taken up as by a job that asked before any of this was known.

    Orders that begin alike share their beginning: each step is a savepoint, undone when all that follows it is done.
    """

    session: AsyncSession
    purchase: Purchase
    asked: Known
    words: Sequence[Word]
    kept_mc: int
    seen: int = 0
    overtaken: int = 0

    async def explore(self, order: tuple[Word, ...] = ()) -> None:
        left = [word for word in self.words if word not in order]
        if not left:
            self.seen += 1
            await self._end(order)
        for word in left:
            async with self.session.begin_nested() as step:
                await self._take_up(self.asked, word)
                await self.explore((*order, word))
                await step.rollback()

    async def _end(self, order: tuple[Word, ...]) -> None:
        """Whoever was overtaken asks again; some orders come a second time, whole."""
        if self.seen % 24 == 0:
            for word in order:
                await self._take_up(self.asked, word)
        again = await taking_up.know(self.session, self.purchase.id)
        assert again is not None
        assert await self._take_up(again, self.words[-1]) is not None
        has = await ledger.balance(self.session, account_id=self.purchase.account_id)
        assert (has.balance_mc, has.debt_mc) == (self.kept_mc, 0), order
        if self.seen % 100 == 0:
            broken = {one.account_id for one in await invariants.violations(self.session, ALL)}
            assert self.purchase.account_id not in broken

    async def _take_up(self, known: Known, word: Word) -> Outcome | None:
        outcome = await taking_up.take_up(self.session, known, word)
        await self.session.flush()
        self.overtaken += outcome is None
        return outcome


@pytest.mark.parametrize("ends", ["won", "lost"])
async def test_every_order_of_what_happened_ends_where_stripes_books_are(ends: str, session: AsyncSession) -> None:
    purchase, checkout = await make_purchase()
    words = await history(purchase, checkout.id, ends=ends)
    kept_mc = await kept_by_stripe(words[-1].checkout.payment_intent) * purchase.credits_mc // purchase.amount_minor
    orders = Orders(session, purchase, await know(purchase), words, kept_mc)

    await orders.explore()

    assert orders.seen == 720
    assert kept_mc == (250_000 if ends == "won" else 0)
    assert orders.overtaken > 720  # else nothing old ever came late


async def test_words_that_are_taken_up_without_the_fence_would_end_elsewhere() -> None:
    """That the orders above ask something: the dispute's beginning, taken up after its end, takes the credits."""
    purchase, checkout = await make_purchase()
    words = await history(purchase, checkout.id, ends="won")

    for word in (words[5], words[4]):
        async with transaction() as session:
            assert await taking_up.take_up(session, await know(purchase), word) is not None

    async with transaction() as session:
        assert (await ledger.balance(session, account_id=purchase.account_id)).balance_mc == 0
