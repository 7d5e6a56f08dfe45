"""The hot path to PostgreSQL: statements that are written once and run straight on the driver.

What runs for each question (who asks, the hold, the claim, the end) is written as `Hot` statements; all else uses
sessions. A `Hot` statement runs on both, so a slice's function does not care which it was given. `direct()` has a few
connections of its own: SQLAlchemy's checkout costs as much as the statement (docs/decisions/0007).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import asyncpg
from sqlalchemy import CursorResult, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import close_engine, is_away
from core.errors import ClofyError, Unavailable
from core.settings import settings

DIRECT_SIZE = 10  # connections of one process, beside core.database.POOL_SIZE
WAIT_SECONDS = 10.0  # for one of them, as for one of SQLAlchemy's

_NAME = re.compile(r"(?<![:\w]):([a-z_]+)")


class DatabaseAway(Unavailable):
    """We cannot get at our data at the moment. Nothing is lost; please try again."""

    code = "unavailable"
    retry_after = 5.0  # seconds; a server that is started again, or the standby that takes over, needs about that


class Direct:
    """A connection without SQLAlchemy on top; in a transaction, or each statement its own."""

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


class _Pool:
    """The connections of this process, of one loop. They are opened when needed, and kept; the last used goes first."""

    current: "_Pool | None" = None

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(DIRECT_SIZE)
        self.closed = False
        self._drivers: list[Any] = []

    async def take(self) -> Any:
        """One that is not closed, opened if there is none."""
        while self._drivers:
            if not (driver := self._drivers.pop()).is_closed():
                return driver
        return await asyncpg.connect(**driver_options(settings().database_url))

    def give_back(self, driver: Any) -> None:
        if self.closed:
            driver.terminate()
        else:
            self._drivers.append(driver)

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*[driver.close(timeout=2) for driver in self._drivers], return_exceptions=True)


def _pool() -> _Pool:
    if _Pool.current is None:
        _Pool.current = _Pool()
    return _Pool.current


def driver_options(database_url: str) -> dict[str, Any]:
    """What SQLAlchemy would give the driver for this URL: host, TLS and all."""
    url = make_url(database_url)
    _, options = url.get_dialect()().create_connect_args(url)
    its_own = ("async_fallback", "prepared_statement_cache_size", "prepared_statement_name_func")
    return {name: value for name, value in options.items() if name not in its_own}


async def close_connections() -> None:
    """Give all connections to PostgreSQL back, the engine's too; the next use opens new ones."""
    pool, _Pool.current = _Pool.current, None
    if pool is not None:
        await pool.close()
    await close_engine()


@asynccontextmanager
async def direct() -> AsyncIterator[Direct]:
    """A connection on which each statement is its own transaction; without an error, then what waits for the commit.

    Raises DatabaseAway.
    """
    pool = _pool()
    try:
        async with asyncio.timeout(WAIT_SECONDS) if pool.slots.locked() else nullcontext():
            await pool.slots.acquire()
    except TimeoutError as error:
        raise DatabaseAway(error="all connections are in use") from error
    try:
        driver = await pool.take()
        unit = Direct(driver)
        try:
            yield unit
        except BaseException as error:
            if _is_whole(error):
                pool.give_back(driver)
            else:
                driver.terminate()  # cut off in mid-talk, or dead: nobody may get it again
            raise
        else:
            pool.give_back(driver)
    except Exception as error:
        if _is_gone(error):
            raise DatabaseAway(error=type(error).__name__) from error
        raise
    finally:
        pool.slots.release()
    for call in unit.info.pop("after_commit", ()):
        call()


def _is_whole(error: BaseException) -> bool:
    """Whether a connection is as good after this error as it was before."""
    return isinstance(error, (ClofyError, asyncpg.PostgresError)) and not _is_gone(error)


def _is_gone(error: BaseException) -> bool:
    """Whether this error says that the connection, or the server, is no longer there.

    Of a connection that the server has ended, the driver reads the farewell first and the end of the wire later, up to
    some milliseconds. Between the two it counts as open and fails with InternalClientError whatever it is asked.
    """
    if isinstance(error, ValueError):
        return False  # a fault of ours: the driver cannot make sense of the URL
    away = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
    return isinstance(error, away) or (isinstance(error, Exception) and is_away(error))


@asynccontextmanager
async def direct_transaction() -> AsyncIterator[Direct]:
    """As `core.database.transaction`, on the driver: all is committed at the end, or none; then what waits for it.

    Raises DatabaseAway.
    """
    async with direct() as unit, unit.driver.transaction():
        yield unit
