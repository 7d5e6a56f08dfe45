"""Stripe's word taken up: from the inbox, for pages that could not wait, each hour from its books; and refunds."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from core.billing import reconciliation, refunds, stripe_api, stripe_events, taking_up
from core.billing.stripe_api import StripeRefused, UnknownCheckout, UnknownPayment
from core.billing.stripe_events import OtherMode
from core.billing.taking_up import MismatchedPayment, Outcome, UnknownPurchase
from core.database import transaction
from core.direct import Unit, direct, direct_transaction
from core.queue import TaskName
from workers.process import process
from workers.runtime import Run, task

NOT_OURS = (MismatchedPayment, UnknownPurchase, UnknownCheckout, UnknownPayment, OtherMode)


@task(TaskName.HANDLE_STRIPE_EVENT, time_allowed=timedelta(seconds=60))
async def handle_stripe_event(run: Run) -> None:
    """Ask Stripe what is, and take it up; an event that does not fit ours is logged as an alert, and grants nothing."""
    process().close_at_end(stripe_api.close)
    event_id: str = run.job.payload["event_id"]

    async def handled(unit: Unit, outcome: str) -> None:
        await stripe_events.mark_handled(unit, event_id, outcome)
        await run.finish(unit, result={"outcome": outcome})

    try:
        async with direct() as unit:
            about = await stripe_events.about(unit, event_id)
        known = about.known or await stripe_events.trace(event_id, about)
        if known is not None:
            await taking_up.bring_up_to_date(known, payment_intent=about.payment_intent, along=handled)
            return
        outcome = "ignored"
    except NOT_OURS as error:
        outcome = error.code
    async with direct_transaction() as unit:
        await handled(unit, outcome)


@task(TaskName.CREDIT_PURCHASE, time_allowed=timedelta(seconds=60))
async def credit_purchase(run: Run) -> None:
    process().close_at_end(stripe_api.close)
    purchase_id = UUID(run.job.payload["purchase_id"])
    async with direct() as unit:
        known = await taking_up.know(unit, purchase_id)
    if known is None:
        raise UnknownPurchase(purchase=purchase_id)

    async def finished(unit: Unit, outcome: Outcome) -> None:
        await run.finish(unit, result={"outcome": outcome})

    await taking_up.bring_up_to_date(known, along=finished)


@task(TaskName.ISSUE_REFUND, time_allowed=timedelta(seconds=60))
async def issue_refund(run: Run) -> None:
    """Have Stripe give back what a buyer asked for; after an attempt that was cut off, see first whether it has."""
    process().close_at_end(stripe_api.close)
    refund_id = UUID(run.job.payload["refund_id"])
    async with transaction() as session:
        order = await refunds.order(session, refund_id)
    if order is not None and run.job.attempts > 1:
        await taking_up.bring_up_to_date(order.known)
        async with transaction() as session:
            order = await refunds.order(session, refund_id)
    if order is None:
        return
    try:
        await stripe_api.refund(refund_id, payment_intent=order.payment_intent, amount_minor=order.amount_minor)
    except StripeRefused as error:
        async with transaction() as session:
            await refunds.refused(session, refund_id, reason=str(error.facts.get("code") or error.code))
            await run.finish(session, result={"outcome": error.code})
        return

    async def finished(unit: Unit, outcome: Outcome) -> None:
        await run.finish(unit, result={"outcome": outcome})

    await taking_up.bring_up_to_date(order.known, along=finished)


@task(TaskName.RECONCILE, time_allowed=timedelta(minutes=30))
async def reconcile(_: Run) -> dict[str, Any]:
    process().close_at_end(stripe_api.close)
    report = await reconciliation.reconcile(now=datetime.now(UTC))
    return {"looked_at": report.looked_at, "healed": report.healed, "found": len(report.findings)}
