"""What we keep about one person, by class: how much of it, why, and for how long. From the registry, for their eyes."""

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy.registry import KINDS, DataClass, Kind
from core.privacy.tables import TABLES


@dataclass(frozen=True)
class Share:
    """rows: how many there are now, in all tables of the class"""

    of: DataClass
    kind: Kind
    rows: int


async def shares(session: AsyncSession, account_id: UUID) -> list[Share]:
    """Each class that has tables of people's own, in the order of the registry; with those that are empty."""
    owned = [table for table in TABLES if table.owner and table.given]
    parts = " union all ".join(
        f"select '{table.of}' as of, (select count(*) from {table.name} where {table.owner}) as rows"  # noqa: S608  # of the registry's words
        for table in owned
    )
    counts: Counter[str] = Counter()
    for of, rows in await session.execute(text(parts), {"account": account_id}):
        counts[of] += rows
    return [Share(of, kind, counts[of]) for of, kind in KINDS.items() if of in {table.of for table in owned}]
