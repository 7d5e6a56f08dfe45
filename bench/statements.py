"""What a statement costs this process in CPU: through SQLAlchemy, and straight on the driver (docs/decisions/0007)."""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from bench.figures import table
from bench.house import measured_house
from bench.machine import facts
from core.database import statement, transaction
from core.direct import Hot, direct, direct_transaction

ROUNDS, TIMES = 9, 600
READ = "select balance_mc, held_mc from credit_accounts where account_id = :account_id"
WORDS, HOT = text(READ), Hot(READ)
ASKED = {"account_id": uuid4()}

Way = Callable[[], Awaitable[None]]


async def one_by_sqlalchemy() -> None:
    async with statement() as connection:
        (await connection.execute(WORDS, ASKED)).one_or_none()


async def one_by_driver() -> None:
    async with direct() as unit:
        await HOT.one(unit, **ASKED)


async def three_by_session() -> None:
    async with transaction() as session:
        for _ in range(3):
            (await session.execute(WORDS, ASKED)).one_or_none()


async def three_by_driver() -> None:
    async with direct_transaction() as unit:
        for _ in range(3):
            await HOT.one(unit, **ASKED)


WAYS: dict[str, Way] = {
    "a statement, SQLAlchemy's connection": one_by_sqlalchemy,
    "a statement, the driver": one_by_driver,
    "a transaction of three, session": three_by_session,
    "a transaction of three, the driver": three_by_driver,
}


async def measure(*, quick: bool) -> dict[str, Any]:
    """Each way in turn, round for round; the median round counts."""
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    async with measured_house(slots=1):
        for _ in range(3 if quick else ROUNDS):
            for name, way in WAYS.items():
                before = time.process_time_ns()
                for _ in range(TIMES):
                    await way()
                spent[name].append((time.process_time_ns() - before) / TIMES / 1000)
    us = {name: statistics.median(values) for name, values in spent.items()}
    return {"what": "CPU of the asking process, in microseconds", "quick": quick, "machine": facts(), "us": us}


def show(seen: dict[str, Any]) -> str:
    return table(["way", "us of CPU"], list(seen["us"].items()))
