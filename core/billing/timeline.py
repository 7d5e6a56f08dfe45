"""One time line of an account's credits, its purchases and what Stripe told of them, for an admin who looks into it."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.credits import timeline
from core.credits.timeline import NOW, Happening

PAGE = 60

_HAPPENED = text("""
    with bought as (select * from purchases where account_id = :account_id)
    select at, key, what, facts from (
        select created_at as at, 'purchase:' || id as key, 'purchase' as what, jsonb_build_object(
            'purchase', id, 'bundle', bundle, 'credits_mc', credits_mc, 'amount_minor', amount_minor,
            'currency', currency, 'state', state, 'reversed_minor', reversed_minor,
            'checkout', stripe_session_id, 'payment', stripe_payment_intent_id) as facts
        from bought
        union all
        select paid_at, 'purchase:' || id || '-paid', 'purchase_paid', jsonb_build_object(
            'purchase', id, 'bundle', bundle, 'credits_mc', credits_mc, 'amount_minor', amount_minor,
            'currency', currency)
        from bought where paid_at is not null
        union all
        select r.created_at, 'refund:' || r.id, 'refund', jsonb_build_object(
            'purchase', purchase_id, 'refund', stripe_refund_id, 'origin', origin, 'amount_minor', r.amount_minor,
            'currency', currency)
        from refunds r join bought on bought.id = purchase_id
        union all
        select r.updated_at, 'refund:' || r.id || '-now', 'refund_' || r.state, jsonb_build_object(
            'purchase', purchase_id, 'refund', stripe_refund_id, 'origin', origin, 'amount_minor', r.amount_minor,
            'currency', currency, 'failure', failure)
        from refunds r join bought on bought.id = purchase_id
        union all
        select d.created_at, 'dispute:' || d.id, 'dispute', jsonb_build_object(
            'purchase', purchase_id, 'dispute', d.id, 'amount_minor', d.amount_minor, 'currency', currency,
            'reason', reason)
        from disputes d join bought on bought.id = purchase_id
        union all
        select d.updated_at, 'dispute:' || d.id || '-now', 'dispute_now', jsonb_build_object(
            'purchase', purchase_id, 'dispute', d.id, 'amount_minor', d.amount_minor, 'currency', currency,
            'status', status)
        from disputes d join bought on bought.id = purchase_id
        union all
        select issued_at, 'receipt:' || number, 'receipt', jsonb_build_object(
            'purchase', purchase_id, 'number', number)
        from receipts join bought on bought.id = purchase_id
        union all
        select received_at, 'event:' || e.id, 'stripe_event', jsonb_build_object(
            'event', e.id, 'type', type, 'outcome', outcome, 'handled_at', handled_at)
        from stripe_events e
        where about in (select stripe_session_id from bought union select stripe_payment_intent_id from bought)
    ) happened
    where (at, key collate "C") < (:at, :key) order by at desc, key collate "C" desc limit :limit
""").columns(facts=JSONB)


async def page(
    session: AsyncSession, place: tuple[datetime, str] = NOW, *, account_id: UUID, limit: int = PAGE
) -> list[Happening]:
    """What happened before a place of the time line, newest first; who adjusted something is named by address."""
    ours = await timeline.before(session, place, account_id=account_id, limit=limit)
    rows = await session.execute(_HAPPENED, {"account_id": account_id, "at": place[0], "key": place[1], "limit": limit})
    both = sorted([*ours, *(Happening(*row) for row in rows)], key=lambda one: (one.at, one.key), reverse=True)[:limit]
    makers = {UUID(one.facts["made_by"]) for one in both if one.what == "adjustment"}
    addresses = await profile.addresses(session, makers) if makers else {}
    return [_named(one, addresses) if one.what == "adjustment" else one for one in both]


def _named(adjustment: Happening, addresses: dict[UUID, str]) -> Happening:
    made_by = UUID(adjustment.facts["made_by"])
    return replace(adjustment, facts={**adjustment.facts, "made_by": addresses.get(made_by, str(made_by))})
