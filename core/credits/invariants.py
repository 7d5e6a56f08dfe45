"""What must hold of the credits whatever happened: each check selects the accounts of which it does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Each gives account_id, what the cache says, and what the rows behind it say.
CHECKS: Mapping[str, str] = {
    "the balance is the sum of the entries": """
        select a.account_id, a.balance_mc, coalesce(sum(e.amount_mc), 0)
        from credit_accounts a left join credit_entries e using (account_id)
        group by a.account_id having a.balance_mc <> coalesce(sum(e.amount_mc), 0)
    """,
    "each entry's balance follows from the one before": """
        select account_id, balance_after_mc, before + amount_mc from (
            select account_id, amount_mc, balance_after_mc,
                coalesce(lag(balance_after_mc) over (partition by account_id order by id), 0) as before
            from credit_entries
        ) e where balance_after_mc <> before + amount_mc
    """,
    "what is free is what the lots have left": """
        select a.account_id, a.balance_mc - a.held_mc + a.owed_mc, coalesce(sum(l.left_mc), 0)
        from credit_accounts a left join credit_lots l using (account_id)
        group by a.account_id having a.balance_mc - a.held_mc + a.owed_mc <> coalesce(sum(l.left_mc), 0)
    """,
    "what is held is the sum of the open holds": """
        select a.account_id, a.held_mc, coalesce(sum(h.amount_mc), 0)
        from credit_accounts a left join credit_holds h on h.account_id = a.account_id and h.state = 'held'
        group by a.account_id having a.held_mc <> coalesce(sum(h.amount_mc), 0)
    """,
    "an open hold is its pins and what is uncovered": """
        select h.account_id, h.amount_mc, coalesce(sum(p.amount_mc), 0) + h.uncovered_mc
        from credit_holds h left join credit_pins p on p.hold_id = h.id
        where h.state = 'held'
        group by h.id having h.amount_mc <> coalesce(sum(p.amount_mc), 0) + h.uncovered_mc
    """,
    "an ended hold pins nothing": """
        select h.account_id, p.amount_mc, 0
        from credit_pins p join credit_holds h on h.id = p.hold_id where h.state <> 'held'
    """,
    "a lot holds what is pinned of it": """
        select l.account_id, l.held_mc, coalesce(sum(p.amount_mc), 0)
        from credit_lots l left join credit_pins p on p.lot_id = l.id
        group by l.id having l.held_mc <> coalesce(sum(p.amount_mc), 0)
    """,
    "what is owed is what was used and no lot covers": """
        select a.account_id, a.owed_mc, used.mc + held.mc - spent.mc
        from credit_accounts a,
            lateral (select -coalesce(sum(amount_mc), 0) as mc from credit_entries e
                where e.account_id = a.account_id and kind in ('usage', 'correction')) used,
            lateral (select coalesce(sum(uncovered_mc), 0) as mc from credit_holds h
                where h.account_id = a.account_id and state = 'held') held,
            lateral (select coalesce(sum(spent_mc), 0) as mc from credit_lots l
                where l.account_id = a.account_id) spent
        where a.owed_mc <> used.mc + held.mc - spent.mc
    """,
    "each lot came in by one entry": """
        select coalesce(l.account_id, e.account_id), coalesce(l.amount_mc, 0), coalesce(e.amount_mc, 0)
        from credit_lots l
        full join (
            select * from credit_entries where amount_mc > 0 and kind <> 'restored'
        ) e on e.source = l.source and e.account_id = l.account_id and e.kind = l.kind
        where l.amount_mc is distinct from e.amount_mc
    """,
    "what was taken back of the lots is what the entries say": """
        select a.account_id, lots.mc, said.mc
        from credit_accounts a,
            lateral (select coalesce(sum(reversed_mc), 0) as mc from credit_lots l
                where l.account_id = a.account_id) lots,
            lateral (select -coalesce(sum(amount_mc), 0) as mc from credit_entries e
                where e.account_id = a.account_id and kind in ('refund', 'dispute', 'restored')) said
        where lots.mc <> said.mc
    """,
    "what expired of the lots is what the entries say": """
        select a.account_id, lots.mc, said.mc
        from credit_accounts a,
            lateral (select coalesce(sum(expired_mc), 0) as mc from credit_lots l
                where l.account_id = a.account_id) lots,
            lateral (select -coalesce(sum(amount_mc), 0) as mc from credit_entries e
                where e.account_id = a.account_id and kind = 'expiry') said
        where lots.mc <> said.mc
    """,
    "each settled hold was taken once, and nothing else was used": """
        select coalesce(h.account_id, e.account_id), coalesce(h.settled_mc, 0), -coalesce(e.amount_mc, 0)
        from (select * from credit_holds where settled_mc > 0) h
        full join (
            select * from credit_entries where kind = 'usage'
        ) e on e.source = h.source and e.account_id = h.account_id
        where h.settled_mc is distinct from -e.amount_mc
    """,
}


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold of an account: what is kept, and what the rows behind it add up to.

    In the rule's own unit; for those of the credits that is millicredits.
    """

    rule: str
    account_id: UUID
    kept: int
    expected: int


async def violations(session: AsyncSession, checks: Mapping[str, str] = CHECKS) -> list[Violation]:
    """All of them, over all accounts; each check reads its tables whole, in one statement, so from one snapshot.

    checks: others than those of the credits, as core.billing.invariants.ALL
    """
    found = []
    for rule, query in checks.items():
        rows = await session.execute(text(query))
        found += [Violation(rule, account_id, int(kept), int(expected)) for account_id, kept, expected in rows]
    return found
