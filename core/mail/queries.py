"""Where mails are: for who waits for them, and for admins."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.direct import Hot, Unit
from core.mail.models import Delivery, DeliveryState

PAGE = 50
DEAD = (DeliveryState.FAILED, DeliveryState.BOUNCED)  # what an admin should look at
LATE_AFTER = timedelta(minutes=1)
NOBODYS = "canary"  # the template of a row by which the purge is watched (core/privacy/canaries.py): never a mail

_LATE = Hot("""
    select exists (
        select from mail_deliveries
        where state in ('queued', 'deferred') and template <> 'announcement'
          and created_at < now() - cast(:late as interval) and created_at > now() - interval '1 day'
    )
""")


async def going_out_late(session: Unit) -> bool:
    """Whether any mail waits for longer than it should. It says nothing of anybody's own mail."""
    late: bool = await _LATE.value(session, late=LATE_AFTER)
    return late


async def of_account(session: AsyncSession, *, account_id: UUID, limit: int = 20) -> list[Delivery]:
    """The newest mails to an account."""
    query = select(Delivery).where(Delivery.account_id == account_id)
    return list(await session.scalars(query.order_by(Delivery.created_at.desc(), Delivery.id.desc()).limit(limit)))


async def page(session: AsyncSession, *, states: tuple[DeliveryState, ...], after: UUID | None) -> list[Delivery]:
    """Mails of all accounts in these states, newest first; `after` is the last id of the page before."""
    theirs = (Delivery.state.in_(states), Delivery.template != NOBODYS)
    query = select(Delivery).where(*theirs).order_by(Delivery.id.desc()).limit(PAGE)
    if after is not None:
        query = query.where(Delivery.id < after)
    return list(await session.scalars(query))


async def counts(session: AsyncSession) -> dict[str, int]:
    """How many mails are in each state but `sent`."""
    unsent = (Delivery.state != DeliveryState.SENT, Delivery.template != NOBODYS)
    query = select(Delivery.state, func.count()).where(*unsent).group_by(Delivery.state)
    found = {str(state): count for state, count in await session.execute(query)}
    return {str(state): found.get(state, 0) for state in DeliveryState if state is not DeliveryState.SENT}
