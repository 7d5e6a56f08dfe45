"""The inbox: Stripe's events as they came, each handled by a job of its own."""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.billing.models import StripeEvent
from core.errors import NotFound
from core.jobs import Job, JobState, on_end
from core.queue import TaskName

# Whichever of these comes, what it says is not believed: the session is asked for anew.
ABOUT_A_CHECKOUT = frozenset(
    f"checkout.session.{what}" for what in ("completed", "async_payment_succeeded", "async_payment_failed", "expired")
)


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


async def checkout_of(session: AsyncSession, event_id: str) -> str | None:
    """The Checkout session that an event is about; None for an event that is none of ours. Raises NotFound."""
    event = await session.scalar(select(StripeEvent).where(StripeEvent.id == event_id))
    if event is None:
        raise NotFound(event=event_id)
    if event.type not in ABOUT_A_CHECKOUT:
        return None
    found = event.body["data"]["object"].get("id")
    return found if isinstance(found, str) else None


async def mark_handled(session: AsyncSession, event_id: str, outcome: str) -> None:
    """Say what came of an event; the first word stands."""
    unhandled = update(StripeEvent).where(StripeEvent.id == event_id, StripeEvent.handled_at.is_(None))
    await session.execute(unhandled.values(handled_at=func.now(), outcome=outcome))


@on_end(TaskName.HANDLE_STRIPE_EVENT)
async def handling_ended(session: AsyncSession, job: Job, outcome: JobState, reason: str) -> None:
    """Leave an event whose handling was given up unhandled, with the reason, for the operator."""
    unhandled = update(StripeEvent).where(StripeEvent.id == job.payload["event_id"], StripeEvent.handled_at.is_(None))
    await session.execute(unhandled.values(outcome=f"{outcome}: {reason}"))
