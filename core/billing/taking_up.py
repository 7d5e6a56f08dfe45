"""Stripe's word taken up. Nothing that an event says is believed: it only tells which purchase to ask about.

Webhook, return page, left-over jobs and the comparison of the books all come here. Stripe is asked between two
transactions, so by the second one somebody else may have taken up a later word. `taken_up` counts them: a word that
would change something is taken up only if none was since before it was asked for; else Stripe is asked again.

Of a fresh sale all runs on the driver (core/direct.py); only where money goes back, or a letter is written, is there a
session. The rules are the same: `take_up` is given either.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import letters, receipts, returns, stripe_api
from core.billing.models import Purchase, PurchaseState
from core.billing.returns import News, Returns
from core.billing.stripe_facts import Checkout, DisputeFacts, RefundFacts
from core.credits import ledger
from core.credits.models import EntryKind
from core.database import transaction
from core.direct import Hot, Unit, direct_transaction
from core.errors import ClofyError, Kind, NotFound, Unavailable
from core.telemetry import log

ROUNDS = 5  # how often a word may be overtaken by others before the caller comes again later

logger = log(__name__)


class Outcome(StrEnum):
    """What taking up Stripe's word about a purchase did."""

    CREDITED = "credited"
    RETURNED = "returned"  # refunds or disputes were news, and the credits follow them
    WAITING = "waiting"
    EXPIRED = "expired"
    FAILED = "failed"
    NOTHING = "nothing"  # we knew all of it


CHANGES = frozenset({Outcome.CREDITED, Outcome.RETURNED, Outcome.EXPIRED, Outcome.FAILED})


class UnknownPurchase(NotFound):
    """No purchase of ours belongs to this checkout."""


class MismatchedPayment(ClofyError):
    """What was paid is not what we sold. Nothing was credited."""

    kind = Kind.CONFLICT


class Overtaken(Unavailable):
    """This purchase changes too often at the moment; please try again."""


@dataclass(frozen=True)
class Known:
    """What is to be known of a purchase before Stripe is asked about it."""

    purchase_id: UUID
    stripe_session_id: str
    taken_up: int
    has_returns: bool


@dataclass(frozen=True)
class Word:
    """What Stripe says now. Refunds and disputes are asked for only where there are any."""

    checkout: Checkout
    refunds: tuple[RefundFacts, ...] = ()
    disputes: tuple[DisputeFacts, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether nothing of it needs more than the purchase's own row: no money that goes back, and no letter."""
        return not (self.refunds or self.disputes or self.checkout.payment_failed)


Along = Callable[[Unit, Outcome], Awaitable[None]]

# Of a statement that asks for more at the same time, too (stripe_events.py). Only one with a page at Stripe is known.
KNOWN = """
    purchase.id, purchase.stripe_session_id, purchase.taken_up,
    exists (select from refunds where purchase_id = purchase.id)
    or exists (select from disputes where purchase_id = purchase.id)
"""
_KNOW = Hot(f"select {KNOWN} from purchases purchase where id = :id and stripe_session_id is not null")  # noqa: S608  # our own words


async def know(unit: Unit, purchase_id: UUID) -> Known | None:
    """What is to be known before Stripe is asked; None if there is no such purchase, or it never had a page there."""
    row = await _KNOW.one(unit, id=purchase_id)
    return Known(*row) if row is not None else None


async def bring_up_to_date(
    known: Known,
    *,
    payment_intent: str | None = None,
    patience: float | None = None,
    along: Along | None = None,
) -> Outcome:
    """Bring a purchase to where Stripe says that it is; any order, any number of times, any number at once.

    payment_intent: the payment by which the purchase was found; its session must be the one that was paid by it
    patience: seconds to wait for Stripe; TimeoutError then
    along: what is written in the same transaction
    Raises MismatchedPayment, UnknownCheckout, StripeUnavailable, Overtaken.
    """
    for _ in range(ROUNDS):
        async with asyncio.timeout(patience):
            word = await ask_stripe(known)
        if payment_intent not in {None, word.checkout.payment_intent}:
            facts = {"purchase": str(known.purchase_id), "payment_intent": payment_intent}
            logger.error("stripe_payment_of_another_checkout", **facts)
            raise MismatchedPayment(unequal=["payment_intent"], **facts)
        async with _unit_for(word) as unit:
            outcome = await take_up(unit, known, word)
            if outcome is not None:
                if along is not None:
                    await along(unit, outcome)
                return outcome
            again = await know(unit, known.purchase_id)
        assert again is not None
        known = again
    raise Overtaken(purchase=known.purchase_id)


async def ask_stripe(known: Known) -> Word:
    """What Stripe says of a purchase now: one call, three where money went back."""
    checkout = await stripe_api.fetch_session(known.stripe_session_id)
    if checkout.payment_intent is None or not (checkout.returns or known.has_returns):
        return Word(checkout)
    return Word(
        checkout,
        await stripe_api.refunds_of(checkout.payment_intent),
        await stripe_api.disputes_of(checkout.payment_intent),
    )


def _unit_for(word: Word) -> AbstractAsyncContextManager[Unit]:
    return direct_transaction() if word.is_plain else transaction()


@dataclass(frozen=True)
class Sale:
    """A purchase while its row is locked."""

    id: UUID
    account_id: UUID
    credits_mc: int
    amount_minor: int
    currency: str
    livemode: bool
    state: str
    stripe_session_id: str | None
    taken_up: int


_LOCK = Hot("""
    select id, account_id, credits_mc, amount_minor, currency, livemode, state, stripe_session_id, taken_up
    from purchases where id = :id for update
""")
_WRITE = Hot("""
    update purchases
    set taken_up = taken_up + 1, state = cast(:state as text),
        paid_at = case when cast(:state as text) = 'paid' then coalesce(paid_at, now()) end,
        stripe_payment_intent_id = coalesce(stripe_payment_intent_id, cast(:payment_intent as text))
    where id = :id
""")


async def take_up(unit: Unit, known: Known, word: Word) -> Outcome | None:
    """Write what Stripe said. None, and nothing written, if it would change something and another word came between.

    unit: a session, for a word that is not plain
    A word that changes nothing is counted too: an older one that somebody still holds must not come after it.
    Raises MismatchedPayment.
    """
    sale = Sale(*await _LOCK.one(unit, id=known.purchase_id))
    goes_to = _goes_to(sale, word.checkout)
    state, came_back = goes_to or sale.state, None
    if state == PurchaseState.PAID and (word.refunds or word.disputes):
        came_back = await _came_back(_session(unit), sale, word)
    changes = goes_to is not None or came_back is not None
    if changes and sale.taken_up != known.taken_up:
        return None
    payment_intent = None
    if goes_to == PurchaseState.PAID:
        refuse_unequal(sale, word.checkout)
        payment_intent = word.checkout.payment_intent
    await _WRITE.all(unit, id=sale.id, state=state, payment_intent=payment_intent)
    if not changes:
        return Outcome.WAITING if sale.state == PurchaseState.OPEN else Outcome.NOTHING
    outcome = Outcome.RETURNED if goes_to is None else await _move(unit, sale, goes_to)
    if came_back is not None:
        session, (purchase, ours, news) = _session(unit), came_back
        await session.refresh(purchase)
        await returns.take_up(session, purchase, ours, news)
    return outcome


def _session(unit: Unit) -> AsyncSession:
    assert isinstance(unit, AsyncSession), "a word that is not plain is taken up by a session"
    return unit


async def _came_back(session: AsyncSession, sale: Sale, word: Word) -> tuple[Purchase, Returns, News] | None:
    """What the word says of money that goes back and our rows do not, with what they do say. None: nothing."""
    purchase = await session.get_one(Purchase, sale.id, populate_existing=True)
    ours = await returns.known(session, sale.id)
    news = returns.compare(purchase, ours, word.refunds, word.disputes)
    return (purchase, ours, news) if news else None


def _goes_to(sale: Sale, checkout: Checkout) -> PurchaseState | None:
    """Where a purchase moves by this word. One that was held for expired or failed is paid all the same: the money
    is there; and no word takes a payment back, money goes back by refunds and disputes.
    """
    if sale.state == PurchaseState.PAID:
        return None
    if checkout.payment_status != "unpaid":
        return PurchaseState.PAID
    if sale.state != PurchaseState.OPEN:
        return None
    if checkout.status == "expired":
        return PurchaseState.EXPIRED
    return PurchaseState.FAILED if checkout.payment_failed else None


async def _move(unit: Unit, sale: Sale, state: PurchaseState) -> Outcome:
    if state == PurchaseState.PAID:
        await _credit(unit, sale)
        return Outcome.CREDITED
    if state == PurchaseState.FAILED:
        session = _session(unit)
        await letters.payment_failed(session, await session.get_one(Purchase, sale.id))
    return Outcome(state)


async def _credit(unit: Unit, sale: Sale) -> None:
    """Grant what was bought, and have the receipt issued."""
    source, kind = returns.source(sale.id), EntryKind.PURCHASE
    await ledger.grant(unit, account_id=sale.account_id, amount_mc=sale.credits_mc, source=source, kind=kind)
    await receipts.issue_later(unit, sale.id)


def refuse_unequal(sale: Sale, checkout: Checkout) -> None:
    """Let only a payment pass by which Stripe was paid exactly what we sold. Raises MismatchedPayment."""
    if unequal := _unequal(sale, checkout):
        logger.error("stripe_payment_mismatch", purchase=str(sale.id), checkout=checkout.id, unequal=unequal)
        raise MismatchedPayment(purchase=sale.id, unequal=unequal)


def _unequal(sale: Sale, checkout: Checkout) -> list[str]:
    """Where Stripe's record differs from ours; nothing may, and credits come from ours alone."""
    ours_and_theirs = {
        "session": (sale.stripe_session_id, checkout.id),
        "mode": ("payment", checkout.mode),
        "status": ("complete", checkout.status),
        "payment_status": ("paid", checkout.payment_status),
        "reference": (str(sale.id), checkout.reference),
        "metadata": (str(sale.id), checkout.purchase),
        "amount": (sale.amount_minor, checkout.amount_minor),
        "currency": (sale.currency, checkout.currency),
        "livemode": (sale.livemode, checkout.livemode),
        "items": (((1, sale.amount_minor),), checkout.items),
    }
    return [name for name, (ours, theirs) in ours_and_theirs.items() if ours != theirs]
