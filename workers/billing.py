"""Stripe's word taken up: events from the inbox, and purchases that a buyer's page could not ask about."""

from datetime import timedelta
from uuid import UUID

from core.billing import purchases, stripe_api, stripe_events
from core.billing.purchases import MismatchedPayment, UnknownPurchase
from core.billing.stripe_api import UnknownCheckout
from core.database import transaction
from core.queue import TaskName
from workers.process import process
from workers.runtime import Run, task


@task(TaskName.HANDLE_STRIPE_EVENT, time_allowed=timedelta(seconds=60))
async def handle_stripe_event(run: Run) -> None:
    """Ask Stripe what is, and take it up; an event that does not fit ours is logged as an alert, and grants nothing."""
    process().close_at_end(stripe_api.close)
    event_id: str = run.job.payload["event_id"]
    async with transaction() as session:
        stripe_session_id = await stripe_events.checkout_of(session, event_id)
    try:
        checkout = None if stripe_session_id is None else await stripe_api.fetch_session(stripe_session_id)
        async with transaction() as session:
            outcome: str = "ignored" if checkout is None else await purchases.take_up(session, checkout)
            await stripe_events.mark_handled(session, event_id, outcome)
            await run.finish(session, result={"outcome": outcome})
    except (MismatchedPayment, UnknownPurchase, UnknownCheckout) as error:
        async with transaction() as session:
            await stripe_events.mark_handled(session, event_id, error.code)
            await run.finish(session, result={"outcome": error.code})


@task(TaskName.CREDIT_PURCHASE, time_allowed=timedelta(seconds=60))
async def credit_purchase(run: Run) -> None:
    process().close_at_end(stripe_api.close)
    async with transaction() as session:
        stripe_session_id = await purchases.stripe_session_of(session, UUID(run.job.payload["purchase_id"]))
    checkout = await stripe_api.fetch_session(stripe_session_id)
    async with transaction() as session:
        outcome = await purchases.take_up(session, checkout)
        await run.finish(session, result={"outcome": outcome})
