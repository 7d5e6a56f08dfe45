"""What comparisons of Stripe's books with ours have found."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.billing.models import Reconciliation


async def last(session: AsyncSession, *, limit: int = 48) -> list[Reconciliation]:
    """Those of the last two days, if one is made each hour; newest first."""
    query = select(Reconciliation).order_by(Reconciliation.started_at.desc(), Reconciliation.id.desc()).limit(limit)
    return list(await session.scalars(query))
