"""The inbox: Stripe's events as they came, each handled by a job of its own.

The job is written with the event and swept like any other (core/claims.py), so no event waits that nobody will handle.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.billing import stripe_api, taking_up
from core.billing.models import StripeEvent
from core.billing.taking_up import Known, UnknownPurchase
from core.direct import Hot, Unit, direct
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


_RECORD = Hot(f"""
    with event as (
        insert into stripe_events (id, type, body)
        values (:event_id, :type, cast(:body as jsonb))
        on conflict (id) do nothing returning id
    ), job as (
        {jobs.ENQUEUE} from event on conflict (key) do nothing returning id
    )
    select (select id from job) from event
""")  # noqa: S608  # of our own words


async def record(unit: Unit, event: dict[str, Any]) -> bool:
    """Keep a verified event and queue its handling, once however often Stripe sends it; both in one statement.

    Returns whether this call kept it.
    """
    task, event_id = TaskName.HANDLE_STRIPE_EVENT, event["id"]
    job = jobs.facts_of(task, uuid4(), payload={"event_id": event_id}, key=f"stripe:{event_id}")
    body = orjson.dumps(event).decode()
    kept = await _RECORD.one(unit, event_id=event_id, type=event["type"], body=body, **job)
    if kept is None:
        return False
    [job_id] = kept
    if job_id is not None:
        jobs.ring_then(unit, task, job_id)
    return True


# The event, and the purchase that its session or payment belongs to, if our rows know it.
_ABOUT = Hot(f"""
    select event.type, cast(event.livemode as text), event.name, {taking_up.KNOWN}
    from (
        select type, body -> 'livemode' as livemode,
               case when type = any(cast(:about_a_checkout as text[])) then body #>> '{{data,object,id}}'
                   else body #>> '{{data,object,payment_intent}}' end as name
        from stripe_events where id = :id
    ) event
    left join purchases purchase on purchase.stripe_session_id is not null
        and (purchase.stripe_session_id = event.name or purchase.stripe_payment_intent_id = event.name)
""")  # noqa: S608  # of our own words


async def about(unit: Unit, event_id: str) -> About:
    """What an event is about; nothing, for one that is none of ours. Raises NotFound, OtherMode."""
    row = await _ABOUT.one(unit, id=event_id, about_a_checkout=list(ABOUT_A_CHECKOUT))
    if row is None:
        raise NotFound(event=event_id)
    kind, livemode, name, *purchase = row
    if kind not in ABOUT_A_CHECKOUT | ABOUT_A_PAYMENT:
        return About()
    if livemode != ("true" if stripe_api.livemode() else "false"):
        logger.error("stripe_event_of_other_mode", event_id=event_id)
        raise OtherMode(event=event_id)
    if name is None:
        return About()
    known = Known(*purchase) if purchase[0] is not None else None
    return About(checkout=name, known=known) if kind in ABOUT_A_CHECKOUT else About(payment_intent=name, known=known)


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
    async with direct() as unit:
        known = await taking_up.know(unit, purchase_id)
    if known is None:
        logger.error("stripe_payment_without_purchase", event_id=event_id, payment_intent=found.payment_intent)
        raise UnknownPurchase(payment_intent=found.payment_intent)
    return known


_MARK_HANDLED = Hot("""
    update stripe_events set handled_at = now(), outcome = cast(:outcome as text)
    where id = :id and handled_at is null
""")


async def mark_handled(unit: Unit, event_id: str, outcome: str) -> None:
    """Say what came of an event; the first word stands."""
    await _MARK_HANDLED.all(unit, id=event_id, outcome=outcome)


@on_end(TaskName.HANDLE_STRIPE_EVENT)
async def handling_ended(session: AsyncSession, job: Job, outcome: JobState, reason: str) -> None:
    """Leave an event whose handling was given up unhandled, with the reason, for the operator."""
    unhandled = update(StripeEvent).where(StripeEvent.id == job.payload["event_id"], StripeEvent.handled_at.is_(None))
    await session.execute(unhandled.values(outcome=f"{outcome}: {reason}"))
