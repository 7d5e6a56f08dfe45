"""Whether a restore is under way, for who must not serve meanwhile; and what the weekly drills of one came to."""

import asyncio
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, statement
from core.direct import driver_options
from core.settings import settings
from core.telemetry import log

WAIT = 1.0  # seconds between two looks
TOLD_EVERY = 60  # looks
_UNDER_WAY = "select exists (select from restores where ended_at is null)"


class Restore(Base):
    """A database that was made of a snapshot. Until `ended_at` nobody may be let in: people who were erased since are
    in it again (core/privacy/restore.py).
    """

    __tablename__ = "restores"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    snapshot: Mapped[date]  # the day of it
    taken_at: Mapped[datetime]  # what came later is lost
    begun_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Drill(Base):
    """A snapshot that was restored into a database of its own, to see that it can be."""

    __tablename__ = "restore_drills"
    __table_args__ = (Index("ix_restore_drills_at", "at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("uuidv7()"))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    snapshot: Mapped[date | None]  # None: there was none
    seconds: Mapped[float]
    rows: Mapped[int]
    findings: Mapped[list[Any]] = mapped_column(JSONB)  # in words; empty: all was well


async def under_way() -> bool:
    """Whether the database of this process is being restored."""
    async with statement() as connection:
        return bool((await connection.execute(text(_UNDER_WAY))).scalar_one())


async def wait_until_ended() -> None:
    """Return once nobody is in the database who must not be. Called before a process serves or works at all.

    While PostgreSQL is away nobody knows, so that is waited for, too.
    """
    looks = 0
    while (reason := await _reason_to_wait()) is not None:
        if looks % TOLD_EVERY == 0:
            log(__name__).warning("start_waits_for_the_database", reason=reason)
        looks += 1
        await asyncio.sleep(WAIT)


async def _reason_to_wait() -> str | None:
    try:
        connection = await asyncpg.connect(**driver_options(settings().database_url), timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return type(error).__name__
    try:
        if await connection.fetchval("select to_regclass('restores') is null"):
            return "no tables"  # a restore may be about to fill it
        return "restore under way" if await connection.fetchval(_UNDER_WAY) else None
    finally:
        await connection.close(timeout=2)
