"""What happened to an account's credits, for an admin who looks into it: entries, holds, lots and adjustments."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class Happening:
    """One thing that happened. `key` is its own, and parts those of one moment."""

    at: datetime
    key: str  # as "entry:12" or "hold:<id>-end"
    what: str
    facts: dict[str, Any]


NOW = (datetime.max.replace(tzinfo=UTC), "")  # the place that all is before


# Holds are read through the whole table: an index for all of them would cost each question, and a look here is rare.
_HAPPENED = text("""
    select at, key, what, facts from (
        select created_at as at, 'entry:' || lpad(id::text, 19, '0') as key, 'entry' as what, jsonb_build_object(
            'kind', kind, 'amount_mc', amount_mc, 'balance_after_mc', balance_after_mc, 'source', source) as facts
        from credit_entries where account_id = :account_id
        union all
        select created_at, 'hold:' || id, 'hold', jsonb_build_object('amount_mc', amount_mc, 'source', source)
        from credit_holds where account_id = :account_id
        union all
        select resolved_at, 'hold:' || id || '-end', 'hold_' || state, jsonb_build_object(
            'amount_mc', amount_mc, 'settled_mc', settled_mc, 'source', source)
        from credit_holds where account_id = :account_id and resolved_at is not null
        union all
        select created_at, 'lot:' || id, 'lot', jsonb_build_object(
            'amount_mc', amount_mc, 'left_mc', left_mc, 'held_mc', held_mc, 'spent_mc', spent_mc,
            'reversed_mc', reversed_mc, 'expired_mc', expired_mc, 'expires_at', expires_at, 'source', source)
        from credit_lots where account_id = :account_id
        union all
        select created_at, 'adjustment:' || id, 'adjustment', jsonb_build_object(
            'amount_mc', amount_mc, 'reason', reason, 'made_by', made_by, 'expires_at', expires_at)
        from credit_adjustments where account_id = :account_id
    ) happened
    where (at, key collate "C") < (:at, :key) order by at desc, key collate "C" desc limit :limit
""").columns(facts=JSONB)


async def before(
    session: AsyncSession, place: tuple[datetime, str], *, account_id: UUID, limit: int
) -> list[Happening]:
    """What happened before a place, which is the time and the key of a happening; newest first."""
    at, key = place
    rows = await session.execute(_HAPPENED, {"account_id": account_id, "at": at, "key": key, "limit": limit})
    return [Happening(*row) for row in rows]
