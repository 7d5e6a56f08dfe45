"""The inbox: Stripe's events as they came, each handled by a job of its own.

The job is written with the event and swept like any other (core/claims.py), so no event waits that nobody will handle.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.billing import stripe_api, taking_up
from core.billing.models import Purchase, StripeEvent
from core.billing.taking_up import Known, UnknownPurchase
from core.database import transaction
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState, on_end
from core.queue import TaskName
from core.telemetry import log

# Whichever of these comes, what it says is not believed: Stripe is asked for what is now.
ABOUT_A_CHECKOUT = frozenset(
    f"checkout.session.{what}" for what in ("completed", "async_payment_succeeded", "async_payment_failed", "expired")
)
ABOUT_A_PAYMENT = frozenset(
    (
        "charge.refunded",
        "charge.updated",
        "charge.refund.updated",
        "refund.created",
        "refund.updated",
        "refund.failed",
        *(f"charge.dispute.{what}" for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")),
    )
)

logger = log(__name__)


class OtherMode(ClofyError):
    """This event is about test money where ours is real, or the other way round."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class About:
    """What an event is about: a session or a payment at Stripe; and our purchase, where the rows tell which it is."""

    checkout: str | None = None
    payment_intent: str | None = None
    known: Known | None = None


async def record(session: AsyncSession, event: dict[str, Any]) -> bool:
    """Keep a verified event and queue its handling, once however often Stripe sends it.

    Returns whether this call kept it.
    """
    row = insert(StripeEvent).values(id=event["id"], type=event["type"], body=event)
    kept = await session.scalar(row.on_conflict_do_nothing(index_elements=["id"]).returning(StripeEvent.id))
    if kept is None:
        return False
    await jobs.enqueue(
        session, TaskName.HANDLE_STRIPE_EVENT, payload={"event_id": event["id"]}, key=f"stripe:{event['id']}"
    )
    return True


async def about(session: AsyncSession, event_id: str) -> About:
    """What an event is about; nothing, for one that is none of ours. Raises NotFound, OtherMode."""
    event = await session.scalar(select(StripeEvent).where(StripeEvent.id == event_id))
    if event is None:
        raise NotFound(event=event_id)
    if event.type not in ABOUT_A_CHECKOUT | ABOUT_A_PAYMENT:
        return About()
    if event.body.get("livemode") is not stripe_api.livemode():
        logger.error("stripe_event_of_other_mode", event_id=event_id)
        raise OtherMode(event=event_id)
    name = "id" if event.type in ABOUT_A_CHECKOUT else "payment_intent"
    found = event.body["data"]["object"].get(name)
    if not isinstance(found, str):
        return About()
    if event.type in ABOUT_A_CHECKOUT:
        return About(checkout=found, known=await taking_up.know(session, Purchase.stripe_session_id == found))
    known = await taking_up.know(session, Purchase.stripe_payment_intent_id == found)
    return About(payment_intent=found, known=known)


async def trace(event_id: str, found: About) -> Known | None:
    """Ask Stripe whose an event is, where our rows do not tell. None: it is none of ours.

    Raises UnknownCheckout or UnknownPayment for what Stripe does not know either, UnknownPurchase for what it was paid
    for and we did not sell.
    """
    try:
        if found.checkout is not None:
            checkout = await stripe_api.fetch_session(found.checkout)
            if checkout.payment_status != "unpaid":
                logger.error("stripe_payment_without_purchase", event_id=event_id, checkout=found.checkout)
            raise UnknownPurchase(checkout=found.checkout)
        if found.payment_intent is None:
            return None
        named = await stripe_api.purchase_named_by(found.payment_intent)
    except (stripe_api.UnknownCheckout, stripe_api.UnknownPayment):
        logger.error("stripe_event_of_unknown_thing", event_id=event_id)  # noqa: TRY400  # an alert; no trace tells more
        raise
    try:
        purchase_id = UUID(named)
    except (TypeError, ValueError):
        return None  # another system's on the same account
    async with transaction() as session:
        known = await taking_up.know(session, Purchase.id == purchase_id)
    if known is None:
        logger.error("stripe_payment_without_purchase", event_id=event_id, payment_intent=found.payment_intent)
        raise UnknownPurchase(payment_intent=found.payment_intent)
    return known


async def mark_handled(session: AsyncSession, event_id: str, outcome: str) -> None:
    """Say what came of an event; the first word stands."""
    unhandled = update(StripeEvent).where(StripeEvent.id == event_id, StripeEvent.handled_at.is_(None))
    await session.execute(unhandled.values(handled_at=func.now(), outcome=outcome))


@on_end(TaskName.HANDLE_STRIPE_EVENT)
async def handling_ended(session: AsyncSession, job: Job, outcome: JobState, reason: str) -> None:
    """Leave an event whose handling was given up unhandled, with the reason, for the operator."""
    unhandled = update(StripeEvent).where(StripeEvent.id == job.payload["event_id"], StripeEvent.handled_at.is_(None))
    await session.execute(unhandled.values(outcome=f"{outcome}: {reason}"))
