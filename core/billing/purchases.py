"""Purchases: begun with our own price, each with its page at Stripe. What comes of them is taking_up.py."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.billing import bundles, stripe_api
from core.billing.models import Purchase, PurchaseState
from core.billing.stripe_facts import Checkout
from core.errors import ClofyError, Kind, NotFound
from core.limits import DAY, HOUR, Limit, Window
from core.queue import TaskName

ASK_AGAIN = timedelta(seconds=2)  # a waiting page polls each second; Stripe allows 100 reads a second in all


# Each makes a page at Stripe. Who buys in earnest needs a few; the rest tries cards, or Stripe's patience.
BEGIN = Limit("purchases", account=(Window(20, HOUR), Window(60, DAY)))


class AttemptKeyReused(ClofyError):
    """This Idempotency-Key belongs to the purchase of another bundle, or in another currency."""

    kind = Kind.CONFLICT


class PurchaseEnded(ClofyError):
    """This purchase has ended. Start a new one."""

    kind = Kind.CONFLICT


async def start(
    session: AsyncSession, *, account_id: UUID, bundle: str, attempt_key: str, currency: str = bundles.DEFAULT
) -> Purchase:
    """Begin to buy a bundle, once for each attempt of the buyer.

    attempt_key: the client's Idempotency-Key; a double click gets the purchase of the first click
    Raises UnknownBundle, InvalidInput, AttemptKeyReused, PurchaseEnded.
    """
    sold = bundles.find(bundle)
    amount_minor = sold.price_in(currency)
    begun: Purchase | None = await session.scalar(
        insert(Purchase)
        .values(
            account_id=account_id,
            attempt_key=attempt_key,
            bundle=sold.slug,
            credits_mc=sold.credits_mc,
            amount_minor=amount_minor,
            currency=currency,
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
    if (purchase.bundle, purchase.currency) != (sold.slug, currency):
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


async def turn_to_ask(session: AsyncSession, purchase_id: UUID) -> bool:
    """Whether the caller should ask Stripe about a purchase: it waits to be paid, and none has asked lately.

    Over all processes that is allowed once in ASK_AGAIN.
    """
    turn = update(Purchase).where(
        Purchase.id == purchase_id,
        Purchase.state == PurchaseState.OPEN,
        Purchase.stripe_session_id.is_not(None),
        or_(Purchase.asked_at.is_(None), Purchase.asked_at < func.now() - ASK_AGAIN),
    )
    return await session.scalar(turn.values(asked_at=func.now()).returning(Purchase.id)) is not None


async def credit_later(session: AsyncSession, purchase_id: UUID) -> None:
    """Have a worker ask Stripe, when the buyer's own page could not: the buyer may close it."""
    payload = {"purchase_id": str(purchase_id)}
    await jobs.enqueue(session, TaskName.CREDIT_PURCHASE, payload=payload, key=f"credit:{purchase_id}")
