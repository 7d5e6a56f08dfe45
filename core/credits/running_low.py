"""Who has few credits left of what they bought."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from core.direct import Hot, Unit


@dataclass(frozen=True)
class Low:
    """An account with less than asked for. since: the source of its last purchase, as the ledger names it."""

    account_id: UUID
    balance_mc: int
    since: str


_LOW = Hot("""
    select account.account_id, account.balance_mc, bought.source
    from credit_accounts account
    cross join lateral (
        select kind, created_at from credit_entries
        where account_id = account.account_id order by id desc limit 1
    ) last
    cross join lateral (
        select source from credit_lots
        where account_id = account.account_id and kind = 'purchase' order by created_at desc, id desc limit 1
    ) bought
    where account.balance_mc < cast(:below_mc as bigint) and account.account_id > :after
      and last.kind in ('usage', 'expiry') and last.created_at > now() - cast(:within as interval)
    order by account.account_id limit :limit
""")


async def accounts(unit: Unit, *, below_mc: int, within: timedelta, after: UUID, limit: int) -> list[Low]:
    """Accounts that bought credits, have used some within this time, and have less than this; by id, after one."""
    rows = await _LOW.all(unit, below_mc=below_mc, within=within, after=after, limit=limit)
    return [Low(*row) for row in rows]
