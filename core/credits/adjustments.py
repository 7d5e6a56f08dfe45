"""What an admin gives and takes, with a reason: new entries, never changed ones."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.audit import NOBODY, Action, Caller
from core.credits import ledger
from core.credits.models import CreditAdjustment, EntryKind
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
    """Give, or below zero take, once for each attempt of the admin's, and noted. Raises AdjustmentKeyReused.

    What is taken and the account does not have, it owes.
    """
    facts = {"account_id": account_id, "amount_mc": amount_mc, "reason": reason, "expires_at": expires_at}
    made: CreditAdjustment | None = await session.scalar(
        insert(CreditAdjustment)
        .values(made_by=made_by, attempt_key=attempt_key, **facts)
        .on_conflict_do_nothing(index_elements=["made_by", "attempt_key"])
        .returning(CreditAdjustment)
    )
    if made is None:
        its_key = (CreditAdjustment.made_by == made_by, CreditAdjustment.attempt_key == attempt_key)
        earlier = (await session.scalars(select(CreditAdjustment).where(*its_key))).one()
        if any(getattr(earlier, name) != value for name, value in facts.items()):
            raise AdjustmentKeyReused(adjustment=earlier.id)
        return earlier
    source = f"adjustment:{made.id}"
    await audit.note(
        session,
        Action.CREDITS_ADJUSTED,
        account_id=account_id,
        actor_id=made_by,
        caller=caller,
        about=source,
        facts={"amount_mc": amount_mc},
    )
    if amount_mc > 0:
        kind = EntryKind.GRANT if expires_at is None else EntryKind.PROMOTION
        await ledger.grant(
            session, account_id=account_id, amount_mc=amount_mc, source=source, kind=kind, expires_at=expires_at
        )
    else:
        await ledger.take(
            session, account_id=account_id, amount_mc=-amount_mc, source=source, kind=EntryKind.CORRECTION
        )
    return made
