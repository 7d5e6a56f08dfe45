"""Purchases: begun with our own price, paid at Stripe, credited once."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.billing import bundles, receipts, stripe_api
from core.billing.models import Purchase, PurchaseState
from core.billing.stripe_api import Checkout
from core.credits import ledger
from core.errors import ClofyError, Kind, NotFound
from core.queue import TaskName
from core.telemetry import log

ASK_AGAIN = timedelta(seconds=2)  # a waiting page polls each second; Stripe allows 100 reads a second in all

logger = log(__name__)


class Outcome(StrEnum):
    """What taking up Stripe's word about a purchase did."""

    CREDITED = "credited"
    WAITING = "waiting"
    EXPIRED = "expired"
    FAILED = "failed"
    NOTHING = "nothing"  # it had ended before


class AttemptKeyReused(ClofyError):
    """This Idempotency-Key belongs to the purchase of another bundle."""

    kind = Kind.CONFLICT


class PurchaseEnded(ClofyError):
    """This purchase has ended. Start a new one."""

    kind = Kind.CONFLICT


class UnknownPurchase(NotFound):
    """No purchase of ours belongs to this checkout."""


class MismatchedPayment(ClofyError):
    """What was paid is not what we sold. Nothing was credited."""

    kind = Kind.CONFLICT


async def start(session: AsyncSession, *, account_id: UUID, bundle: str, attempt_key: str) -> Purchase:
    """Begin to buy a bundle, once for each attempt of the buyer.

    attempt_key: the client's Idempotency-Key; a double click gets the purchase of the first click
    Raises UnknownBundle, AttemptKeyReused, PurchaseEnded.
    """
    sold = bundles.find(bundle)
    begun: Purchase | None = await session.scalar(
        insert(Purchase)
        .values(
            account_id=account_id,
            attempt_key=attempt_key,
            bundle=sold.slug,
            credits_mc=sold.credits_mc,
            amount_minor=sold.amount_minor,
            currency=sold.currency,
            livemode=stripe_api.livemode(),
        )
        .on_conflict_do_nothing(index_elements=["account_id", "attempt_key"])
        .returning(Purchase)
    )
    if begun is not None:
        return begun
    purchase = (
        await session.scalars(
            select(Purchase).where(Purchase.account_id == account_id, Purchase.attempt_key == attempt_key)
        )
    ).one()
    if purchase.bundle != sold.slug:
        raise AttemptKeyReused(purchase=purchase.id)
    if purchase.state != PurchaseState.OPEN:
        raise PurchaseEnded(purchase=purchase.id)
    return purchase


async def attach(session: AsyncSession, purchase_id: UUID, checkout: Checkout) -> str | None:
    """Keep the page on which a purchase is paid. Returns the address of the one that was kept first."""
    keep = (
        update(Purchase)
        .where(Purchase.id == purchase_id)
        .values(
            stripe_session_id=func.coalesce(Purchase.stripe_session_id, checkout.id),
            checkout_url=func.coalesce(Purchase.checkout_url, checkout.url),
        )
    )
    return await session.scalar(keep.returning(Purchase.checkout_url))


async def get(session: AsyncSession, purchase_id: UUID, *, account_id: UUID) -> Purchase:
    """The account's own purchase. Raises NotFound for anything else."""
    purchase = await session.scalar(
        select(Purchase).where(Purchase.id == purchase_id, Purchase.account_id == account_id)
    )
    if purchase is None:
        raise NotFound(purchase=purchase_id)
    return purchase


async def page(
    session: AsyncSession, *, account_id: UUID, after: UUID | None = None, limit: int = 50
) -> Sequence[Purchase]:
    """The account's purchases, newest first, behind the one named by `after`."""
    query = select(Purchase).where(Purchase.account_id == account_id).order_by(Purchase.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Purchase.id < after)
    return (await session.scalars(query)).all()


async def checkout_to_ask(session: AsyncSession, purchase_id: UUID, *, account_id: UUID) -> str | None:
    """The Stripe session of a purchase that waits to be paid, if none has asked for it lately.

    The caller is expected to ask: over all processes that is allowed once in ASK_AGAIN.
    """
    turn = update(Purchase).where(
        Purchase.id == purchase_id,
        Purchase.account_id == account_id,
        Purchase.state == PurchaseState.OPEN,
        Purchase.stripe_session_id.is_not(None),
        or_(Purchase.asked_at.is_(None), Purchase.asked_at < func.now() - ASK_AGAIN),
    )
    return await session.scalar(turn.values(asked_at=func.now()).returning(Purchase.stripe_session_id))


async def credit_later(session: AsyncSession, purchase_id: UUID) -> None:
    """Have a worker ask Stripe, when the buyer's own page could not: the buyer may close it."""
    payload = {"purchase_id": str(purchase_id)}
    await jobs.enqueue(session, TaskName.CREDIT_PURCHASE, payload=payload, key=f"credit:{purchase_id}")


async def stripe_session_of(session: AsyncSession, purchase_id: UUID) -> str:
    """The Stripe session of a purchase, for a worker. Raises UnknownPurchase."""
    found = await session.scalar(select(Purchase.stripe_session_id).where(Purchase.id == purchase_id))
    if found is None:
        raise UnknownPurchase(purchase=purchase_id)
    return found


async def take_up(session: AsyncSession, checkout: Checkout) -> Outcome:
    """Bring our purchase to where Stripe says that it is; any order, any number of times, any number at once.

    The purchase is the one that we opened this very session for, whatever the session refers to.
    Raises UnknownPurchase, MismatchedPayment.
    """
    purchase_id = await session.scalar(select(Purchase.id).where(Purchase.stripe_session_id == checkout.id))
    if purchase_id is None:
        if checkout.payment_status != "unpaid":
            logger.error("stripe_payment_without_purchase", checkout=checkout.id)
        raise UnknownPurchase(checkout=checkout.id)
    if checkout.payment_status != "unpaid":
        return Outcome.CREDITED if await credit(session, purchase_id, checkout) else Outcome.NOTHING
    if checkout.status == "expired":
        return await _end(session, purchase_id, PurchaseState.EXPIRED)
    if checkout.payment_failed:
        return await _end(session, purchase_id, PurchaseState.FAILED)
    return Outcome.WAITING


async def credit(session: AsyncSession, purchase_id: UUID, checkout: Checkout) -> bool:
    """Grant what was bought and have the receipt issued, once, if Stripe was paid exactly what we sold.

    Whoever comes at the same time waits for the row, then finds it paid. A purchase that we held for
    expired or failed is credited too: the money is there.
    Returns whether this call did it. Raises MismatchedPayment, UnknownPurchase.
    """
    purchase = await session.get(Purchase, purchase_id, with_for_update=True, populate_existing=True)
    if purchase is None:
        raise UnknownPurchase(purchase=purchase_id)
    if purchase.state == PurchaseState.PAID:
        return False
    if unequal := _unequal(purchase, checkout):
        logger.error("stripe_payment_mismatch", purchase=str(purchase_id), checkout=checkout.id, unequal=unequal)
        raise MismatchedPayment(purchase=purchase_id, unequal=unequal)
    paid = (
        update(Purchase)
        .where(Purchase.id == purchase_id)
        .values(state=PurchaseState.PAID, paid_at=func.now(), stripe_payment_intent_id=checkout.payment_intent)
    )
    await session.execute(paid)
    await ledger.grant(
        session,
        account_id=purchase.account_id,
        amount_mc=purchase.credits_mc,
        source=f"purchase:{purchase_id}",
        kind="purchase",
    )
    await receipts.issue_later(session, purchase_id)
    return True


def _unequal(purchase: Purchase, checkout: Checkout) -> list[str]:
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


async def _end(session: AsyncSession, purchase_id: UUID, state: PurchaseState) -> Outcome:
    still_open = update(Purchase).where(Purchase.id == purchase_id, Purchase.state == PurchaseState.OPEN)
    ended = await session.scalar(still_open.values(state=state).returning(Purchase.id))
    return Outcome(state) if ended else Outcome.NOTHING
