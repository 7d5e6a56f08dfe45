"""Legal holds: while one is open, nothing of the account goes by itself (security.md 152).

Whoever places one waits for the batch of the purge that is under way, and none begins before it is committed.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Account
from core.audit import NOBODY, Action, Caller
from core.errors import NotFound
from core.privacy.purge_models import LegalHold
from core.telemetry import log

LOCK = 0x484F4C44  # an advisory lock: shared by batches of the purge, alone for who places a hold

logger = log(__name__)


async def place(
    session: AsyncSession, account_id: UUID, *, reason: str, by: UUID | None, now: datetime, caller: Caller = NOBODY
) -> UUID:
    """Stop the purge for an account; returns the hold's id. Each matter has a hold of its own. Raises NotFound.

    by: the admin; None for an operator at the command line
    """
    await session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    if await session.get(Account, account_id) is None:
        raise NotFound(account=account_id)
    hold = LegalHold(account_id=account_id, reason=reason, placed_by=by, placed_at=now)
    session.add(hold)
    await session.flush()
    await _note(session, Action.HOLD_PLACED, hold, by=by, caller=caller)
    return hold.id


async def lift(
    session: AsyncSession, hold_id: UUID, *, by: UUID | None, now: datetime, caller: Caller = NOBODY
) -> None:
    """Let the purge at an account again, unless another hold is open; what is due goes with its next run.

    Raises NotFound, also for one that is lifted.
    """
    query = select(LegalHold).where(LegalHold.id == hold_id, LegalHold.lifted_at.is_(None)).with_for_update()
    hold = await session.scalar(query)
    if hold is None:
        raise NotFound(hold=hold_id)
    hold.lifted_at, hold.lifted_by = now, by
    await session.flush()
    await _note(session, Action.HOLD_LIFTED, hold, by=by, caller=caller)


async def _note(session: AsyncSession, action: Action, hold: LegalHold, *, by: UUID | None, caller: Caller) -> None:
    """The reason stays in the hold: the person reads the audit log, and may not be told it."""
    about = f"hold:{hold.id}"
    await audit.note(session, action, account_id=hold.account_id, actor_id=by, caller=caller, about=about)
    logger.info(action, hold=str(hold.id), account=str(hold.account_id), by=str(by) if by else None)


async def held(session: AsyncSession, account_id: UUID) -> bool:
    query = select(LegalHold.id).where(LegalHold.account_id == account_id, LegalHold.lifted_at.is_(None))
    return bool(await session.scalar(select(query.exists())))


async def listed(session: AsyncSession, account_id: UUID | None = None) -> Sequence[LegalHold]:
    """The open holds, of one account or of all, the latest first."""
    query = select(LegalHold).where(LegalHold.lifted_at.is_(None)).order_by(LegalHold.id.desc())
    if account_id is not None:
        query = query.where(LegalHold.account_id == account_id)
    return (await session.scalars(query)).all()


async def freeze(session: AsyncSession) -> list[UUID]:
    """The accounts under a hold, of which there will be no more before this transaction ends."""
    await session.execute(text("select pg_advisory_xact_lock_shared(:lock)"), {"lock": LOCK})
    return list(await session.scalars(select(LegalHold.account_id).where(LegalHold.lifted_at.is_(None)).distinct()))
