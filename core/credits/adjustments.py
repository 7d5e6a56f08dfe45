"""What an admin gives and takes, with a reason: new entries, never changed ones."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import NOBODY, Caller
from core.credits import ledger
from core.credits.models import CreditAdjustment
from core.errors import ClofyError, Kind

MOST_MC = 100_000_000  # of one adjustment; more is more likely a slip of the hand


class AdjustmentKeyReused(ClofyError):
    """This Idempotency-Key belongs to another adjustment."""

    kind = Kind.CONFLICT


async def make(
    session: AsyncSession,
    *,
    account_id: UUID,
    amount_mc: int,
    reason: str,
    made_by: UUID,
    attempt_key: str,
    expires_at: datetime | None = None,
    caller: Caller = NOBODY,
) -> CreditAdjustment:
    """Give, or below zero take, once for each attempt of the admin's. Raises AdjustmentKeyReused."""
    facts = {"account_id": account_id, "amount_mc": amount_mc, "reason": reason, "expires_at": expires_at}
    made = await ledger.adjust(
        session,
        account_id=account_id,
        amount_mc=amount_mc,
        reason=reason,
        expires_at=expires_at,
        made_by=made_by,
        attempt_key=attempt_key,
        caller=caller,
    )
    adjustment = await session.get_one(CreditAdjustment, made)
    if any(getattr(adjustment, name) != value for name, value in facts.items()):
        raise AdjustmentKeyReused(adjustment=made)
    return adjustment
