"""The ledger: grants, holds, settlements. Every change is one row of `credit_entries` with the cause as its key.

What keeps it right stands in the database: the account's row is locked by each change (an UPDATE, so spenders of
one account wait for each other), its balance never goes below its holds, a source counts once, entries never change.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits.models import CreditAccount, CreditEntry, CreditHold, HoldState
from core.direct import Hot, Unit
from core.errors import ClofyError, Kind

HOLD_LIFE = timedelta(hours=1)  # longer than a job with all its attempts; upkeep ends what is older


class NotEnoughCredits(ClofyError):
    """You do not have enough credits for this."""

    kind = Kind.UNPAID
    shown = ("needed_mc", "available_mc")


@dataclass(frozen=True)
class Balance:
    """All in millicredits; what may be spent is `available_mc`."""

    balance_mc: int
    held_mc: int
    debt_mc: int = 0  # reversals of spent credits; the issue on money fills it

    @property
    def available_mc(self) -> int:
        return self.balance_mc - self.held_mc


_BALANCE = Hot("select balance_mc, held_mc from credit_accounts where account_id = :account_id")


async def balance(session: Unit, *, account_id: UUID) -> Balance:
    """What the account has; nothing, for one that never had any."""
    row = await _BALANCE.one(session, account_id=account_id)
    return Balance(*row) if row else Balance(0, 0)


async def grant(session: AsyncSession, *, account_id: UUID, amount_mc: int, source: str, kind: str) -> bool:
    """Add credits, once for each source.

    amount_mc: above 0
    source: what they came from, as "purchase:<id>"; the second grant of it does nothing
    Returns whether this call added them.
    """
    if amount_mc <= 0:
        raise ValueError("a grant adds something")
    account = insert(CreditAccount).values(account_id=account_id, balance_mc=0, held_mc=0)
    lock = account.on_conflict_do_update(
        index_elements=["account_id"], set_={"balance_mc": CreditAccount.balance_mc}
    ).returning(CreditAccount.balance_mc)
    after = (await session.execute(lock)).scalar_one() + amount_mc
    entry = insert(CreditEntry).values(
        account_id=account_id, amount_mc=amount_mc, balance_after_mc=after, kind=kind, source=source
    )
    added = await session.scalar(entry.on_conflict_do_nothing(index_elements=["source"]).returning(CreditEntry.id))
    if added is None:
        return False
    await session.execute(update(CreditAccount).where(CreditAccount.account_id == account_id).values(balance_mc=after))
    return True


_HOLD = Hot("""
    with account as (
        update credit_accounts
        set held_mc = held_mc + least(cast(:at_most as bigint), balance_mc - held_mc)
        where account_id = :account_id and balance_mc - held_mc >= cast(:at_least as bigint)
        returning account_id, new.held_mc - old.held_mc as amount_mc
    )
    insert into credit_holds (id, account_id, amount_mc, source, expires_at)
    select cast(:id as uuid), account_id, amount_mc, cast(:source as text), now() + :life from account
    returning amount_mc
""")


async def hold(session: Unit, *, account_id: UUID, at_least_mc: int, at_most_mc: int, source: str) -> tuple[UUID, int]:
    """Set credits aside for what may cost up to `at_most_mc`, or for what there is, down to `at_least_mc`.

    source: the cause, as "generation:<id>"; one hold for each
    Returns the hold's id and its amount. Raises NotEnoughCredits, nothing held.
    """
    if not 0 < at_least_mc <= at_most_mc:
        raise ValueError("a hold holds something")
    hold_id = uuid4()
    held: int | None = await _HOLD.value(
        session,
        id=hold_id,
        account_id=account_id,
        at_least=at_least_mc,
        at_most=at_most_mc,
        source=source,
        life=HOLD_LIFE,
    )
    if held is None:
        have = await balance(session, account_id=account_id)
        raise NotEnoughCredits(needed_mc=at_least_mc, available_mc=have.available_mc)
    return hold_id, held


_SETTLE = Hot("""
    with hold as (
        update credit_holds
        set state = 'settled', settled_mc = least(cast(:cost as bigint), amount_mc), resolved_at = now()
        where id = :id and state = 'held'
        returning account_id, amount_mc, settled_mc, source
    ), account as (
        update credit_accounts
        set balance_mc = balance_mc - hold.settled_mc, held_mc = held_mc - hold.amount_mc
        from hold where credit_accounts.account_id = hold.account_id
        returning credit_accounts.account_id, balance_mc, hold.settled_mc, hold.source
    ), entry as (
        insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
        select account_id, -settled_mc, balance_mc, 'usage', source from account where settled_mc > 0
    )
    select settled_mc from account
""")


async def settle(session: Unit, *, hold_id: UUID, cost_mc: int) -> int | None:
    """Take what a held cause did cost, never more than was held, and give the rest back.

    Returns the millicredits that were taken, or None when the hold was resolved before: then nothing is taken.
    """
    if cost_mc < 0:
        raise ValueError("a cost never pays the buyer")
    taken: int | None = await _SETTLE.value(session, id=hold_id, cost=cost_mc)
    return taken


_RELEASE = Hot("""
    with hold as (
        update credit_holds set state = 'released', resolved_at = now()
        where id = :id and state = 'held' returning account_id, amount_mc
    )
    update credit_accounts set held_mc = held_mc - hold.amount_mc
    from hold where credit_accounts.account_id = hold.account_id
    returning credit_accounts.account_id
""")


async def release(session: Unit, *, hold_id: UUID) -> bool:
    """Give a hold back whole. Once: returns whether this call did it."""
    return await _RELEASE.value(session, id=hold_id) is not None


async def expired_holds(session: AsyncSession, *, now: datetime, limit: int = 100) -> list[CreditHold]:
    """Open holds past their end; whoever made them ends their cause."""
    query = select(CreditHold).where(CreditHold.state == HoldState.HELD, CreditHold.expires_at < now).limit(limit)
    return list(await session.scalars(query))


async def entries(
    session: AsyncSession, *, account_id: UUID, after: int | None = None, limit: int = 50
) -> list[CreditEntry]:
    """The statement, newest first; `after` is the last id of the page before."""
    query = select(CreditEntry).where(CreditEntry.account_id == account_id).order_by(CreditEntry.id.desc()).limit(limit)
    if after is not None:
        query = query.where(CreditEntry.id < after)
    return list(await session.scalars(query))


async def unbalanced(session: AsyncSession) -> list[dict[str, Any]]:
    """Accounts whose balance is not the sum of their entries, or whose held amount is not that of their open holds."""
    spent = (
        select(CreditEntry.account_id, func.sum(CreditEntry.amount_mc).label("mc"))
        .group_by(CreditEntry.account_id)
        .subquery()
    )
    held = (
        select(CreditHold.account_id, func.sum(CreditHold.amount_mc).label("mc"))
        .where(CreditHold.state == HoldState.HELD)
        .group_by(CreditHold.account_id)
        .subquery()
    )
    query = (
        select(CreditAccount.account_id, CreditAccount.balance_mc, spent.c.mc, CreditAccount.held_mc, held.c.mc)
        .outerjoin(spent, spent.c.account_id == CreditAccount.account_id)
        .outerjoin(held, held.c.account_id == CreditAccount.account_id)
        .where(
            (CreditAccount.balance_mc != func.coalesce(spent.c.mc, 0))
            | (CreditAccount.held_mc != func.coalesce(held.c.mc, 0))
        )
    )
    names = ("account_id", "balance_mc", "entries_mc", "held_mc", "holds_mc")
    return [dict(zip(names, row, strict=True)) for row in await session.execute(query)]
