"""Stripe's word taken up. Nothing that an event says is believed: it only tells which purchase to ask about.

Webhook, return page, left-over jobs and the comparison of the books all come here. Stripe is asked between two
transactions, so by the second one somebody else may have taken up a later word. `taken_up` counts them: a word that
would change something is taken up only if none was since before it was asked for; else Stripe is asked again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing import letters, receipts, returns, stripe_api
from core.billing.models import Dispute, Purchase, PurchaseState, Refund
from core.billing.stripe_facts import Checkout, DisputeFacts, RefundFacts
from core.credits import ledger
from core.credits.models import EntryKind
from core.database import transaction
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


Along = Callable[[AsyncSession, Outcome], Awaitable[None]]


async def know(session: AsyncSession, which: ColumnElement[bool]) -> Known | None:
    """The purchase that Stripe is to be asked about; None if there is none, or it never had a page at Stripe."""
    has_returns = or_(
        select(Refund.id).where(Refund.purchase_id == Purchase.id).exists(),
        select(Dispute.id).where(Dispute.purchase_id == Purchase.id).exists(),
    )
    query = select(Purchase.id, Purchase.stripe_session_id, Purchase.taken_up, has_returns)
    row = (await session.execute(query.where(which, Purchase.stripe_session_id.is_not(None)))).one_or_none()
    if row is None or row.stripe_session_id is None:
        return None
    return Known(row.id, row.stripe_session_id, row.taken_up, bool(row[3]))


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
        async with transaction() as session:
            outcome = await take_up(session, known, word)
            if outcome is not None:
                if along is not None:
                    await along(session, outcome)
                return outcome
            again = await know(session, Purchase.id == known.purchase_id)
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


async def take_up(session: AsyncSession, known: Known, word: Word) -> Outcome | None:
    """Write what Stripe said. None, and nothing written, if it would change something and another word came between.

    A word that changes nothing is counted too: an older one that somebody still holds must not come after it.
    Raises MismatchedPayment.
    """
    purchase = await session.get_one(Purchase, known.purchase_id, with_for_update=True, populate_existing=True)
    goes_to = _goes_to(purchase, word.checkout)
    ours, news = returns.Returns(), returns.News([], [])
    if PurchaseState.PAID in {purchase.state, goes_to}:
        if word.refunds or word.disputes:
            ours = await returns.known(session, purchase.id)
        news = returns.compare(purchase, ours, word.refunds, word.disputes)
    changes = goes_to is not None or bool(news)
    if changes and purchase.taken_up != known.taken_up:
        return None
    purchase.taken_up += 1
    if not changes:
        return Outcome.WAITING if purchase.state == PurchaseState.OPEN else Outcome.NOTHING
    outcome = Outcome.RETURNED if goes_to is None else await _move(session, purchase, goes_to, word.checkout)
    if news:
        await session.flush()
        await returns.take_up(session, purchase, ours, news)
    return outcome


def _goes_to(purchase: Purchase, checkout: Checkout) -> PurchaseState | None:
    """Where a purchase moves by this word. One that was held for expired or failed is paid all the same: the money
    is there; and no word takes a payment back, money goes back by refunds and disputes.
    """
    if purchase.state == PurchaseState.PAID:
        return None
    if checkout.payment_status != "unpaid":
        return PurchaseState.PAID
    if purchase.state != PurchaseState.OPEN:
        return None
    if checkout.status == "expired":
        return PurchaseState.EXPIRED
    return PurchaseState.FAILED if checkout.payment_failed else None


async def _move(session: AsyncSession, purchase: Purchase, state: PurchaseState, checkout: Checkout) -> Outcome:
    if state == PurchaseState.PAID:
        await _credit(session, purchase, checkout)
        return Outcome.CREDITED
    purchase.state = state
    if state == PurchaseState.FAILED:
        await letters.payment_failed(session, purchase)
    return Outcome(state)


async def _credit(session: AsyncSession, purchase: Purchase, checkout: Checkout) -> None:
    """Grant what was bought and have the receipt issued, if Stripe was paid exactly what we sold."""
    if unequal := unequal_of(purchase, checkout):
        logger.error("stripe_payment_mismatch", purchase=str(purchase.id), checkout=checkout.id, unequal=unequal)
        raise MismatchedPayment(purchase=purchase.id, unequal=unequal)
    purchase.state, purchase.paid_at = PurchaseState.PAID, func.now()
    purchase.stripe_payment_intent_id = checkout.payment_intent
    await ledger.grant(
        session,
        account_id=purchase.account_id,
        amount_mc=purchase.credits_mc,
        source=returns.source(purchase),
        kind=EntryKind.PURCHASE,
    )
    await receipts.issue_later(session, purchase.id)


def unequal_of(purchase: Purchase, checkout: Checkout) -> list[str]:
    """Where Stripe's record differs from ours; nothing may, and credits come from ours alone."""
    ours_and_theirs = {
        "session": (purchase.stripe_session_id, checkout.id),
        "mode": ("payment", checkout.mode),
        "status": ("complete", checkout.status),
        "payment_status": ("paid", checkout.payment_status),
        "reference": (str(purchase.id), checkout.reference),
        "metadata": (str(purchase.id), checkout.purchase),
        "amount": (purchase.amount_minor, checkout.amount_minor),
        "currency": (purchase.currency, checkout.currency),
        "livemode": (purchase.livemode, checkout.livemode),
        "items": (((1, purchase.amount_minor),), checkout.items),
    }
    return [name for name, (ours, theirs) in ours_and_theirs.items() if ours != theirs]
