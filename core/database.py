"""PostgreSQL, the truth: one engine a process, and the unit of work."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import DateTime, MetaData, event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from core.settings import settings

# Of one process, beside the DIRECT_SIZE of core/direct.py; all processes together stay below max_connections
# (tests/contracts/test_compose.py). No overflow beyond it: such a connection is opened and closed for each use, which
# costs PostgreSQL more than the statement (docs/decisions/0007).
POOL_SIZE = 10


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  # SQLAlchemy's own form


class _Engine:
    """The engine of this process, made at the first use, on the loop that uses it."""

    current: AsyncEngine | None = None


sessions = async_sessionmaker(expire_on_commit=False)


def engine() -> AsyncEngine:
    """The engine of this process; it belongs to the loop that first asked for it."""
    if _Engine.current is None:
        _Engine.current = create_async_engine(
            settings().database_url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=10,
            hide_parameters=True,  # an error's text goes to the log, and parameters hold what people wrote
        )
        event.listen(_Engine.current.sync_engine, "checkout", _check)
        sessions.configure(bind=_Engine.current)
    return _Engine.current


def _check(connection: Any, _record: Any, _proxy: Any) -> None:
    """Hand out no connection that the server has closed meanwhile: the driver knows, without a round trip."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


async def close_engine() -> None:
    """Give the connections back; the next use opens new ones."""
    if _Engine.current is not None:
        await _Engine.current.dispose()
        _Engine.current = None


@asynccontextmanager
async def transaction() -> AsyncIterator[AsyncSession]:
    """One unit of work: all of it is committed at the end, or none.

    Calls given to `after_commit` run once the rows are visible to others, and not at all
    after an error. Never await a network call inside: it would hold a connection and locks.
    """
    engine()
    async with sessions.begin() as session:
        yield session
    for call in session.info.pop("after_commit", ()):
        call()


class HasInfo(Protocol):
    """A session, or what stands for one (core/direct.py)."""

    @property
    def info(self) -> dict[Any, Any]: ...


def after_commit(session: HasInfo, call: Callable[[], None]) -> None:
    """Have `call` run once the transaction is committed. It must neither block nor raise."""
    session.info.setdefault("after_commit", []).append(call)


@asynccontextmanager
async def statement() -> AsyncIterator[AsyncConnection]:
    """A connection on which each statement is its own transaction: one round trip instead of three."""
    async with engine().connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")


# SQLSTATE: connection exceptions, too many connections, stopping, crashed, starting (PostgreSQL, appendix A)
AWAY_STATES = ("08", "53300", "57P01", "57P02", "57P03")


def is_away(error: Exception) -> bool:
    """Whether this error says that PostgreSQL cannot be reached now: nothing is wrong with what was asked of it."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    said = error.orig if isinstance(error, DBAPIError) else error  # while connecting, asyncpg's own come as they are
    state = getattr(said, "sqlstate", None) or ""
    return state.startswith(AWAY_STATES) or isinstance(error, (PoolTimeout, ConnectionError, TimeoutError))


async def ping() -> None:
    """One round trip to PostgreSQL, for the probe."""
    async with statement() as connection:
        await connection.execute(text("select 1"))
