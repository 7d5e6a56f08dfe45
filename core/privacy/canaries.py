"""Canaries: each day a row of nobody's is put among those of a table, and has to be gone when its term is over.

They prove the purge from the outside: by the same tables and terms as everything else, and without looking at how it
works. None belongs to an account, moves money, or is in a place that people are shown.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy.purge_models import Canary
from core.privacy.registry import Ends, Table
from core.privacy.tables import TABLES
from core.telemetry import log

SLACK = timedelta(hours=3)  # the purge runs each hour; one that missed two turns is in trouble
WORDS = "canary"


@dataclass(frozen=True)
class Plant:
    """How a row is put into a table, and found there again; with :id and :at, and :day and :mark made of them."""

    row: str
    found: str


PLANTS = {
    "message_texts": Plant(
        "(said_on, message_id, text) values (:day, :id, 'canary')", "said_on = :day and message_id = :id"
    ),
    "audit_entries": Plant(
        "(at, action, object, outcome, ip, user_agent, request_id, facts)"
        " values (:at, 'canary', :mark, 'done', '', '', '', '{}')",
        "at = :at and object = :mark",
    ),
    "kept_answers": Plant(
        "(account_id, key, request_hash, answer, created_at) values (:id, :mark, '', '{}', :at)",
        "account_id = :id and key = :mark",
    ),
    "mail_deliveries": Plant(
        "(key, recipient, template, facts, state, created_at) values (:mark, '', 'canary', '{}', 'suppressed', :at)",
        "key = :mark",
    ),
    "legal_holds": Plant(
        "(id, account_id, reason, placed_at, lifted_at) values (:id, :id, 'canary', :at, :at)", "id = :id"
    ),
}

logger = log(__name__)


def _facts(one: Canary) -> dict[str, Any]:
    at = one.planted_at.astimezone(UTC)
    return {"id": one.id, "at": at, "day": at.date(), "mark": f"canary:{one.id}"}


def _used(sql: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if f":{name}" in sql}


def _ends(place: str) -> Ends:
    table: Table = next(one for one in TABLES if one.name == place)
    assert table.ends is not None
    return table.ends


def due_at(place: str, planted_at: datetime) -> datetime:
    """When a row that is put there now has to go; one of a day by the first moment of the day."""
    ends, at = _ends(place), planted_at.astimezone(UTC)
    return (datetime.combine(at.date(), time(), UTC) if ends.days else at) + ends.after


async def plant(session: AsyncSession, *, now: datetime) -> int:
    """Put one into each table that has none of this day; returns how many."""
    planted = 0
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    for place, how in PLANTS.items():
        if await session.scalar(select(exists().where(Canary.place == place, Canary.planted_at >= today))):
            continue
        one = Canary(id=uuid4(), place=place, planted_at=now, due_at=due_at(place, now))
        session.add(one)
        await session.flush()
        await session.execute(text(f"insert into {place} {how.row}"), _used(how.row, _facts(one)))
        planted += 1
    return planted


async def look(session: AsyncSession, *, now: datetime) -> list[Canary]:
    """See which are gone; returns those that should be and are not, or are and should not be, each told as an error."""
    wrong: list[Canary] = []
    for one in await session.scalars(select(Canary).where(Canary.gone_at.is_(None)).order_by(Canary.due_at)):
        how = PLANTS[one.place]
        query = f"select 1 from {one.place} where {how.found}"  # noqa: S608  # of our own words
        there = await session.scalar(text(query), _used(how.found, _facts(one)))
        facts = {"place": one.place, "canary": str(one.id), "due_at": one.due_at.isoformat()}
        if not there:
            one.gone_at = now
            if now < one.due_at:
                logger.error("canary_gone_early", **facts)
                wrong.append(one)
        elif now > one.due_at + SLACK:
            logger.error("canary_overdue", **facts)
            wrong.append(one)
    await session.flush()
    return wrong


async def waiting_too_long(session: AsyncSession, *, now: datetime) -> int:
    """How many should be gone and were not seen to be."""
    late = select(func.count()).where(Canary.gone_at.is_(None), Canary.due_at + SLACK < now)
    return (await session.scalar(late)) or 0
