"""The ledger: grants in lots, holds, settlements, reversals. Every change is one row of `credit_entries`.

Each move is a function of the database (migrations/sql/0005_credits.sql): it locks the account's row, so the moves of
one account wait for each other, and is one round trip. What keeps it right stands beside the rows: no account has less
than nothing free, a lot's parts are the whole, a source counts once, entries never change; the rest: invariants.py.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits.models import CreditHold, CreditLot, EntryKind, HoldState
from core.direct import Hot, Unit
from core.errors import ClofyError, Kind

HOLD_LIFE = timedelta(hours=1)  # longer than a job with all its attempts; upkeep ends what is older


class NotEnoughCredits(ClofyError):
    """You do not have enough credits for this."""

    kind = Kind.UNPAID
    shown = ("needed_mc", "available_mc")


@dataclass(frozen=True)
class Balance:
    """All in millicredits: what the entries add up to, what is set aside, what was used and no lot covers."""

    balance_mc: int
    held_mc: int
    debt_mc: int = 0

    @property
    def available_mc(self) -> int:
        """What may be spent."""
        return self.balance_mc - self.held_mc + self.debt_mc


_BALANCE = Hot("select balance_mc, held_mc, owed_mc from credit_accounts where account_id = :account_id")


async def balance(session: Unit, *, account_id: UUID) -> Balance:
    """What the account has; nothing, for one that never had any."""
    row = await _BALANCE.one(session, account_id=account_id)
    return Balance(*row) if row else Balance(0, 0)


@dataclass(frozen=True)
class Expiry:
    """The next credits to expire, and when."""

    amount_mc: int
    at: datetime


_NEXT_EXPIRY = Hot("""
    select sum(left_mc)::bigint, expires_at from credit_lots
    where account_id = :account_id and left_mc > 0 and expires_at is not null
    group by expires_at order by expires_at limit 1
""")


async def next_expiry(session: Unit, *, account_id: UUID) -> Expiry | None:
    """What expires next, if anything does."""
    row = await _NEXT_EXPIRY.one(session, account_id=account_id)
    return Expiry(*row) if row else None


_GRANT = Hot("""
    select credits_grant(:account_id, cast(:amount_mc as bigint), :source, :kind, cast(:expires_at as timestamptz))
""")


async def grant(
    session: Unit, *, account_id: UUID, amount_mc: int, source: str, kind: str, expires_at: datetime | None = None
) -> bool:
    """Add a lot of credits, once for each source; it pays first what the account owes.

    amount_mc: above 0
    source: what they came from, as "purchase:<id>"; the second grant of it does nothing
    Returns whether this call added them.
    """
    if amount_mc <= 0:
        raise ValueError("a grant adds something")
    return bool(
        await _GRANT.value(
            session, account_id=account_id, amount_mc=amount_mc, source=source, kind=kind, expires_at=expires_at
        )
    )


_HOLD = Hot("""
    select credits_hold(:id, :account_id, cast(:at_least as bigint), cast(:at_most as bigint), :source, :life)
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


_RESOLVE = Hot("select credits_resolve(:id, cast(:cost as bigint))")


async def settle(session: Unit, *, hold_id: UUID, cost_mc: int) -> int | None:
    """Take what a held cause did cost, never more than was held, and give the rest back.

    Returns the millicredits that were taken, or None when the hold was resolved before: then nothing is taken.
    """
    if cost_mc < 0:
        raise ValueError("a cost never pays the buyer")
    taken: int | None = await _RESOLVE.value(session, id=hold_id, cost=cost_mc)
    return taken


async def release(session: Unit, *, hold_id: UUID) -> bool:
    """Give a hold back whole. Once: returns whether this call did it."""
    return await _RESOLVE.value(session, id=hold_id, cost=None) is not None


_REVERSE_TO = Hot("select credits_reverse_to(:source, cast(:target_mc as bigint), :kind)")


async def reverse_to(session: Unit, *, source: str, target_mc: int, kind: EntryKind) -> int:
    """Have just so much of a lot be taken back, however much was before; repeated, it changes nothing.

    source: that of the grant
    kind: refund or dispute, as the entry's that takes more; one that gives back is always "restored"
    Returns the change of the balance in millicredits.
    """
    changed: int = await _REVERSE_TO.value(session, source=source, target_mc=target_mc, kind=str(kind))
    return changed


_TAKE = Hot("select credits_take(:account_id, cast(:amount_mc as bigint), :source, :kind)")


async def take(session: Unit, *, account_id: UUID, amount_mc: int, source: str, kind: EntryKind) -> bool:
    """Take credits without a hold, once for each source; what the account does not have, it owes.

    amount_mc: above 0
    Returns whether this call took them.
    """
    if amount_mc <= 0:
        raise ValueError("what is taken is something")
    return bool(await _TAKE.value(session, account_id=account_id, amount_mc=amount_mc, source=source, kind=str(kind)))


async def lots(session: AsyncSession, sources: Collection[str]) -> dict[str, CreditLot]:
    """The lots that these sources brought, by them."""
    found = await session.scalars(select(CreditLot).where(CreditLot.source.in_(sources)))
    return {lot.source: lot for lot in found}


_TO_EXPIRE = Hot("""
    select account_id, credits_expire(account_id) from (
        select distinct account_id from credit_lots
        where left_mc > 0 and expires_at is not null and expires_at <= now() limit :limit
    ) due
""")


async def expire_lots(session: Unit, *, limit: int = 100) -> int:
    """Take what is left of lots whose date has come, of so many accounts. Returns how many those were."""
    return len(await _TO_EXPIRE.all(session, limit=limit))


async def expired_holds(session: AsyncSession, *, now: datetime, limit: int = 100) -> list[CreditHold]:
    """Open holds past their end; whoever made them ends their cause."""
    query = select(CreditHold).where(CreditHold.state == HoldState.HELD, CreditHold.expires_at < now).limit(limit)
    return list(await session.scalars(query))
