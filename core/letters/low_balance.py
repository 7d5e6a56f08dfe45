"""A word to who has few credits left: once for each purchase, so that the next purchase arms it again."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.credits import running_low
from core.mail import deliveries

BELOW_MC = 20_000  # 20 credits: some ten typical answers
WITHIN = timedelta(days=1)  # of their last answer; so long may beat be away without anybody being missed
BATCH = 100
FIRST = UUID(int=0)


async def tell(session: AsyncSession, *, after: UUID = FIRST) -> tuple[int, UUID | None]:
    """Write to the next accounts after this one. Returns how many, and the last that was looked at; None at the end."""
    low = await running_low.accounts(session, below_mc=BELOW_MC, within=WITHIN, after=after, limit=BATCH)
    readers = {one.id: one for one in await profile.reachable(session, [one.account_id for one in low])}
    told = 0
    for one in low:
        if (reader := readers.get(one.account_id)) is not None:
            told += await deliveries.send(
                session,
                key=f"low_balance:{one.since}",
                account_id=reader.id,
                recipient=reader.email,
                template="low_balance",
                facts={"name": reader.name, "credits": f"{max(one.balance_mc, 0) // 1000:,}"},
            )
    return told, low[-1].account_id if len(low) == BATCH else None
