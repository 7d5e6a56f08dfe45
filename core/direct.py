"""The hot path to PostgreSQL: statements that are written once and run straight on the driver.

A statement of its own costs 158 µs of CPU through SQLAlchemy's connection and 89 on the driver, a transaction of three
458 through a session and 197, the checkout included (bench/results/statements.json). What runs for each question (who
asks, the hold, the claim, the end) is written as `Hot` statements; all else uses sessions. A `Hot` statement runs on
both, so a slice's function does not care which it was given.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import engine
from core.errors import ClofyError, Unavailable

_NAME = re.compile(r"(?<![:\w]):([a-z_]+)")


class DatabaseAway(Unavailable):
    """We cannot get at our data at the moment. Nothing is lost; please try again."""

    code = "unavailable"
    retry_after = 5.0  # seconds; a server that is started again, or the standby that takes over, needs about that


class Direct:
    """A connection of the pool, without SQLAlchemy on top; in a transaction, or each statement its own."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.info: dict[Any, Any] = {}  # as a session's: core.database.after_commit


Unit = AsyncSession | Direct


class Hot:
    """A statement with :names, each of which is cast where PostgreSQL could not tell its type; JSON goes in as text."""

    def __init__(self, sql: str) -> None:
        self.names: list[str] = []
        self._text = text(sql)
        self._driver = _NAME.sub(self._number, sql)

    def _number(self, name: re.Match[str]) -> str:
        if name[1] not in self.names:
            self.names.append(name[1])
        return f"${self.names.index(name[1]) + 1}"

    async def all(self, unit: Unit, **facts: Any) -> Sequence[Any]:
        """The rows; each gives its columns in order."""
        if isinstance(unit, Direct):
            rows: Sequence[Any] = await unit.driver.fetch(self._driver, *[facts[name] for name in self.names])
            return rows
        result = cast("CursorResult[Any]", await unit.execute(self._text, facts))
        return result.all() if result.returns_rows else []

    async def one(self, unit: Unit, **facts: Any) -> Any:
        """The first row, or None."""
        rows = await self.all(unit, **facts)
        return rows[0] if rows else None

    async def value(self, unit: Unit, **facts: Any) -> Any:
        """The first column of the first row, or None."""
        row = await self.one(unit, **facts)
        return row[0] if row is not None else None


@asynccontextmanager
async def direct() -> AsyncIterator[Direct]:
    """A connection on which each statement is its own transaction. Raises DatabaseAway."""
    try:
        async with engine().connect() as pooled:
            driver = (await pooled.get_raw_connection()).driver_connection
            try:
                yield Direct(driver)
            except (ClofyError, asyncpg.PostgresError):
                raise  # the connection is as good as before
            except BaseException:
                await pooled.invalidate()  # cut off in mid-talk, or dead: the pool must not give it to another
                raise
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
        raise DatabaseAway from error


@asynccontextmanager
async def direct_transaction() -> AsyncIterator[Direct]:
    """As `core.database.transaction`, on the driver: all is committed at the end, or none; then what waits for it.

    Raises DatabaseAway.
    """
    async with direct() as unit, unit.driver.transaction():
        yield unit
    for call in unit.info.pop("after_commit", ()):
        call()
