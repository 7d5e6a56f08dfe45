"""One buyer's history, as Hypothesis makes it up; tests/core/billing/test_any_history.py tries it."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import text

from core.billing import refunds, stripe_events
from core.billing.invariants import ALL
from core.billing.models import Purchase
from core.credits import invariants, ledger
from core.credits.ledger import NotEnoughCredits
from core.database import transaction
from core.errors import ClofyError
from core.queue import TaskName
from tests.core.billing.kit import at_stripe, bring_up_to_date, make_buyer, make_purchase, pay
from tests.workers.here import Here

T = TypeVar("T")
LONGEST_CRASH = 400  # turns of the loop; a whole handling takes fewer

few = st.integers(0, 7)
has_sold = precondition(lambda self: self.sales)
has_events = precondition(lambda self: self.events)
share = st.fractions(min_value="1/7", max_value=1)


class History(RuleBasedStateMachine):
    """One buyer. What happens at Stripe gives events, which are delivered late, twice, in any order, or never."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    here: ClassVar[Here]

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    @initialize()
    def begin(self) -> None:
        self.buyer = self.do(make_buyer())
        self.sales: list[tuple[Purchase, str]] = []  # with the session at Stripe
        self.events: list[dict[str, Any]] = []  # not delivered yet
        self.holds: list[tuple[UUID, int]] = []
        self.refund_jobs: list[str] = []
        self.used_mc = self.given_mc = 0
        self.newest = self.do(self._newest())
        self.buy("starter")
        self.pay(0, "card")  # else few histories come to where refunds and disputes matter

    # What people and banks do

    @precondition(lambda self: len(self.sales) < 4)
    @rule(bundle=st.sampled_from(("starter", "plus")))
    def buy(self, bundle: str) -> None:
        purchase, checkout = self.do(make_purchase(bundle=bundle, buyer=self.buyer))
        self.sales.append((purchase, checkout.id))

    @has_sold
    @rule(which=few, method=st.sampled_from(("card", "card", "delayed", "declined")))
    def pay(self, which: int, method: str) -> None:
        if self._at_stripe(which)["status"] == "open":
            self.do(pay(self._sale(which)[1], method))
            self._collect()

    @has_sold
    @rule(which=few, succeeds=st.booleans())
    def settle_payment(self, which: int, succeeds: bool) -> None:  # Hypothesis gives it by name
        session = self._at_stripe(which)
        intent = session["payment_intent"]
        if session["payment_status"] == "unpaid" and intent and intent["status"] == "processing":
            self._act(f"sessions/{session['id']}/settle", succeeds=succeeds)

    @has_sold
    @rule(which=few)
    def let_checkout_expire(self, which: int) -> None:
        session = self._at_stripe(which)
        if session["status"] == "open":
            self._act(f"sessions/{session['id']}/expire")

    @has_sold
    @rule(which=few, part=share, pending=st.booleans())
    def refund_at_stripe(self, which: int, part: Any, pending: bool) -> None:
        charge = self._charge(which)
        left = 0 if charge is None else charge["amount"] - charge["amount_refunded"]
        if charge is not None and left and not self._charged_back(which):
            status = "pending" if pending else "succeeded"
            self._act(
                "refunds", payment_intent=charge["payment_intent"], amount=max(1, int(left * part)), status=status
            )

    @has_sold
    @rule(which=few, other=few, succeeds=st.booleans())
    def finish_refund(self, which: int, other: int, succeeds: bool) -> None:
        refunds_there = self._list("refunds", which)
        if refunds_there:
            refund = refunds_there[other % len(refunds_there)]
            if refund["status"] == "pending" or (refund["status"] == "succeeded" and not succeeds):
                self._act(f"refunds/{refund['id']}/finish", succeeds=succeeds)

    @has_sold
    @rule(which=few, becomes=st.sampled_from(("inquiry", "opened", "won", "lost", "lost")))
    def dispute(self, which: int, becomes: str) -> None:
        charge = self._charge(which)
        if charge is not None and not charge["disputed"] and charge["amount"] > charge["amount_refunded"]:
            self._act("disputes", payment_intent=charge["payment_intent"], inquiry=becomes == "inquiry")
            if becomes in ("won", "lost"):
                self.close_dispute(which, becomes == "won")

    @has_sold
    @rule(which=few, won=st.booleans())
    def close_dispute(self, which: int, won: bool) -> None:
        for dispute in self._list("disputes", which):
            if dispute["status"] == "warning_needs_response":
                self._act(f"disputes/{dispute['id']}/close", status="warning_closed")
            elif dispute["status"] == "needs_response":
                self._act(f"disputes/{dispute['id']}/close", status="won" if won else "lost")

    @has_sold
    @rule(which=few, is_sent=st.booleans())
    def buyer_asks_for_a_refund(self, which: int, is_sent: bool) -> None:
        """`is_sent`: whether our job reaches Stripe now, or only at the end of this history."""
        purchase, _ = self._sale(which)

        async def ask() -> None:
            async with transaction() as session:
                locked = await refunds.lock(session, purchase.id, account_id=self.buyer)
                refund = await refunds.request(session, locked, now=datetime.now(UTC))
                self.refund_jobs.append(f"refund:{refund.id}")

        try:
            self.do(ask())
        except ClofyError:
            return  # not possible, with the reason; nothing may have changed
        if is_sent:
            self._issue_refunds()
            self._collect()

    # What reaches us of it

    @has_events
    @rule(which=few, again=st.booleans())
    def deliver(self, which: int, again: bool) -> None:
        number = which % len(self.events)
        event = self.events[number] if again else self.events.pop(number)
        self.do(self._keep(event))
        self._handle(event)

    @has_events
    @rule(which=few)
    def lose(self, which: int) -> None:
        self.events.pop(which % len(self.events))

    @has_events
    @rule(which=few, turns=st.integers(1, LONGEST_CRASH))
    def crash_in_mid_handling(self, which: int, turns: int) -> None:
        event = self.events[which % len(self.events)]
        self.do(self._keep(event))
        self.do(self._crash(event, turns))
        self._handle(event)

    @has_sold
    @rule(which=few)
    def look_at_the_return_page(self, which: int) -> None:
        self.do(bring_up_to_date(self._sale(which)[0]))

    # What credits are for

    @rule(mc=st.integers(1, 400_000), least=st.integers(1, 400_000))
    def hold(self, mc: int, least: int) -> None:
        async def ask() -> tuple[UUID, int]:
            async with transaction() as session:
                return await ledger.hold(
                    session,
                    account_id=self.buyer,
                    at_least_mc=min(mc, least),
                    at_most_mc=mc,
                    source=f"generation:{uuid4()}",
                )

        free = self.do(self._balance()).available_mc
        try:
            made = self.do(ask())
        except NotEnoughCredits:
            assert free < min(mc, least)
            return
        assert made[1] == min(mc, free)
        self.holds.append(made)

    @precondition(lambda self: self.holds)
    @rule(which=few, part=st.fractions(0, 1), twice=st.booleans())
    def answer(self, which: int, part: Any, twice: bool) -> None:
        """Also one that was stopped: it costs what was written."""
        hold_id, held_mc = self.holds.pop(which % len(self.holds))
        cost_mc = int(held_mc * part)

        async def settle() -> int | None:
            async with transaction() as session:
                return await ledger.settle(session, hold_id=hold_id, cost_mc=cost_mc)

        assert self.do(settle()) == cost_mc
        assert not twice or self.do(settle()) is None
        self.used_mc += cost_mc

    @rule(mc=st.integers(1, 500_000), part=st.fractions(0, 1))
    def take_back_what_is_held(self, mc: int, part: Any) -> None:
        """An answer runs on credits that are refunded meanwhile; new ones come before it ends."""
        self.look_at_the_return_page(0)
        self.hold(mc, 1)
        self.refund_at_stripe(0, Fraction(1), pending=False)
        self.look_at_the_return_page(0)
        self.promote(mc)
        if self.holds:
            self.answer(len(self.holds) - 1, part, twice=False)

    @precondition(lambda self: self.holds)
    @rule(which=few)
    def fail(self, which: int) -> None:
        hold_id, _ = self.holds.pop(which % len(self.holds))

        async def release() -> bool:
            async with transaction() as session:
                return await ledger.release(session, hold_id=hold_id)

        assert self.do(release())
        assert not self.do(release())

    @rule(mc=st.integers(1, 300_000))
    def promote(self, mc: int) -> None:
        async def give() -> None:
            async with transaction() as session:
                expires_at = datetime.now(UTC) + timedelta(days=1)
                source = f"promotion:{uuid4()}"
                facts = {"account_id": self.buyer, "amount_mc": mc, "source": source, "kind": "promotion"}
                await ledger.grant(session, expires_at=expires_at, **facts)  # type: ignore[arg-type]  # of one type each

        self.do(give())
        self.given_mc += mc

    @rule(sweep=st.booleans())
    def let_promotions_expire(self, sweep: bool) -> None:
        """`sweep`: else the next hold must see to it."""
        past = (
            "update credit_lots set expires_at = now() - interval '1 s' where account_id = :id and kind = 'promotion'"
        )

        async def expire() -> None:
            async with transaction() as session:
                await session.execute(text(past), {"id": self.buyer})
                if sweep:
                    await ledger.expire_lots(session)

        self.do(expire())
        if not sweep:
            self.hold(1, 1)

    # What must hold

    @invariant()
    def every_rule_holds(self) -> None:
        assert self.do(self._broken()) == []

    def teardown(self) -> None:
        if hasattr(self, "buyer"):
            try:
                self._all_is_heard_of()
            finally:
                self.do(self._forget())

    def _all_is_heard_of(self) -> None:
        self._issue_refunds()
        owed_mc = 0
        for number, (purchase, _) in enumerate(self.sales):
            self.do(bring_up_to_date(purchase))
            owed_mc += self._worth(number, purchase)
        self.every_rule_holds()
        balance = self.do(self._balance())
        expired_mc = self.do(self._expired())
        assert balance.balance_mc == owed_mc + self.given_mc - expired_mc - self.used_mc
        assert balance.held_mc == sum(held_mc for _, held_mc in self.holds)
        assert (balance.debt_mc > 0) <= (balance.available_mc == 0)

    def _worth(self, number: int, purchase: Purchase) -> int:
        """What a purchase comes to by Stripe's books alone."""
        if self._at_stripe(number)["payment_status"] != "paid":
            return 0
        gone = sum(
            one["amount"] for one in self._list("refunds", number) if one["status"] not in ("failed", "canceled")
        )
        gone += sum(
            one["amount"]
            for one in self._list("disputes", number)
            if one["status"] != "won" and not one["status"].startswith("warning_")
        )
        amount = purchase.amount_minor
        back_mc: int = purchase.credits_mc * min(gone, amount) // amount
        return purchase.credits_mc - back_mc

    # How

    def _sale(self, which: int) -> tuple[Purchase, str]:
        return self.sales[which % len(self.sales)]

    def _at_stripe(self, which: int) -> dict[str, Any]:
        path = f"/v1/checkout/sessions/{self._sale(which)[1]}?expand[]=payment_intent.latest_charge"
        told: dict[str, Any] = self.do(at_stripe("GET", path))
        return told

    def _charge(self, which: int) -> dict[str, Any] | None:
        session = self._at_stripe(which)
        charge: dict[str, Any] | None = (session["payment_intent"] or {}).get("latest_charge")
        return charge if session["payment_status"] == "paid" else None

    def _charged_back(self, which: int) -> bool:
        """Stripe gives no refund of what the bank has taken."""
        statuses = [one["status"] for one in self._list("disputes", which)]
        return any(status != "won" and not status.startswith("warning_") for status in statuses)

    def _list(self, what: str, which: int) -> list[dict[str, Any]]:
        intent = self._at_stripe(which)["payment_intent"]
        if not intent:
            return []
        listed: list[dict[str, Any]] = self.do(at_stripe("GET", f"/v1/{what}?payment_intent={intent['id']}&limit=100"))[
            "data"
        ]
        return listed

    def _act(self, path: str, **given: Any) -> None:
        self.do(at_stripe("POST", f"/control/stripe/{path}", given))
        self._collect()

    def _collect(self) -> None:
        """The events that Stripe has made since the last time."""
        more = f"&ending_before={self.newest}" if self.newest else ""
        made = self.do(at_stripe("GET", f"/v1/events?limit=100{more}"))["data"]
        if made:
            self.newest = made[0]["id"]
            self.events += reversed(made)

    async def _newest(self) -> str | None:
        return next((one["id"] for one in (await at_stripe("GET", "/v1/events?limit=1"))["data"]), None)

    async def _keep(self, event: dict[str, Any]) -> None:
        async with transaction() as session:
            await stripe_events.record(session, event)

    def _handle(self, event: dict[str, Any]) -> None:
        self.do(self.here.work_off(TaskName.HANDLE_STRIPE_EVENT, [f"stripe:{event['id']}"]))

    def _issue_refunds(self) -> None:
        self.do(self.here.work_off(TaskName.ISSUE_REFUND, self.refund_jobs))

    async def _crash(self, event: dict[str, Any], turns: int) -> None:
        """The worker dies after so many turns of its loop."""
        keys = [f"stripe:{event['id']}"]
        work = asyncio.create_task(self.here.work_off(TaskName.HANDLE_STRIPE_EVENT, keys))
        for _ in range(turns):
            await asyncio.sleep(0)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def _balance(self) -> ledger.Balance:
        async with transaction() as session:
            await session.execute(text("select credits_expire(:id)"), {"id": self.buyer})
            return await ledger.balance(session, account_id=self.buyer)

    async def _expired(self) -> int:
        query = "select -coalesce(sum(amount_mc), 0) from credit_entries where account_id = :id and kind = 'expiry'"
        async with transaction() as session:
            return int((await session.execute(text(query), {"id": self.buyer})).scalar_one())

    async def _broken(self) -> list[Any]:
        async with transaction() as session:
            found = await invariants.violations(session, ALL)
        return [one for one in found if one.account_id == self.buyer]

    async def _forget(self) -> None:
        """Away with this history's rows, past the guards of the database: the next one has few to look through."""
        async with transaction() as session:
            await session.execute(text("set local session_replication_role = replica"))
            for rows in _OF_THE_BUYER:
                await session.execute(text("delete from " + rows), {"id": self.buyer})  # noqa: S608  # constants


_SALES = "(select id from purchases where account_id = :id)"
_OF_THE_BUYER = (
    "credit_pins where hold_id in (select id from credit_holds where account_id = :id)",
    *(f"{table} where account_id = :id" for table in ("credit_entries", "credit_lots", "credit_holds", "jobs")),
    "credit_accounts where account_id = :id",
    *(f"{table} where purchase_id in {_SALES}" for table in ("refunds", "disputes", "receipts")),
    "purchases where account_id = :id",
)
