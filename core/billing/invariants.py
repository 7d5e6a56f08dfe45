"""What must hold of purchases and their credits whatever happened; core/credits/invariants.py checks these too."""

from collections.abc import Mapping

from core.credits import invariants

# Each gives account_id, what is kept, and what it should be, in the rule's own unit.
CHECKS: Mapping[str, str] = {
    "each paid purchase brought one lot of its credits, and nothing else did": """
        select coalesce(p.account_id, l.account_id), coalesce(l.amount_mc, 0), coalesce(p.credits_mc, 0)
        from (select * from purchases where state = 'paid') p
        full join (select * from credit_lots where kind = 'purchase') l
            on l.source = 'purchase:' || p.id and l.account_id = p.account_id
        where l.amount_mc is distinct from p.credits_mc
    """,
    "of a purchase's lot just so much is taken back as of its price": """
        select p.account_id, l.reversed_mc, p.credits_mc * p.reversed_minor / p.amount_minor
        from purchases p join credit_lots l on l.source = 'purchase:' || p.id
        where l.reversed_mc <> p.credits_mc * p.reversed_minor / p.amount_minor
    """,
    "of a purchase's price just so much is taken back as its refunds and disputes come to": """
        select p.account_id, p.reversed_minor, least(p.amount_minor, refunded.minor + disputed.minor)
        from purchases p,
            lateral (select coalesce(sum(amount_minor), 0) as minor from refunds r
                where r.purchase_id = p.id and r.state not in ('failed', 'canceled')) refunded,
            lateral (select coalesce(sum(amount_minor), 0) as minor from disputes d
                where d.purchase_id = p.id and d.status not in ('won', 'prevented')
                    and not starts_with(d.status, 'warning_')) disputed
        where p.reversed_minor <> least(p.amount_minor, refunded.minor + disputed.minor)
    """,
    "a purchase that was paid a quarter of an hour ago has its receipt": """
        select p.account_id, 0, 1
        from purchases p left join receipts r on r.purchase_id = p.id
        where p.state = 'paid' and p.paid_at < now() - interval '15 minutes' and r.number is null
    """,
    "the numbers of receipts have no gap": """
        select p.account_id, r.number, r.expected
        from (select number, purchase_id, row_number() over (order by number) as expected from receipts) r
        join purchases p on p.id = r.purchase_id
        where r.number <> r.expected
    """,
}

ALL = {**invariants.CHECKS, **CHECKS}  # what must hold of all money
