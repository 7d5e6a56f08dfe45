"""The weekly drill: the latest copy is restored into a database of its own, looked at, and dropped. A copy that nobody
has restored is a hope.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from core.accounts.models import Account
from core.billing.invariants import ALL
from core.credits import invariants
from core.database import transaction
from core.direct import driver_options
from core.errors import ClofyError
from core.privacy import journal, restore, snapshots
from core.privacy.restores import Drill
from core.sealing import NotOurs
from core.settings import settings

EVERY = timedelta(days=7)
AGAIN = timedelta(days=1)  # after one that found something
LATE = timedelta(hours=26)  # a copy is made in the first hour of each day
OVERDUE = EVERY + timedelta(days=1)
PREFIX = "clofy_drill_"
TOLD = 20  # findings that are kept


class NotForDrills(ClofyError):
    """CLOFY_DRILL_DATABASE_URL names a database that is in use; a drill empties it."""

    kind = restore.NotEmpty.kind


async def latest_copy() -> datetime | None:
    """When the latest copy was taken. Raises StorageAway, NoStorage."""
    there = await snapshots.days()
    return (await snapshots.manifest(there[-1])).taken_at if there else None


async def copy_is_late(*, now: datetime) -> bool:
    """Whether there is no copy of the last 26 hours. A house that is younger needs none."""
    taken_at = await latest_copy()
    if taken_at is not None:
        return taken_at < now - LATE
    async with transaction() as session:
        old = select(select(Account.id).where(Account.created_at < now - LATE).exists())
        return bool(await session.scalar(old))


async def last(session: AsyncSession) -> Drill | None:
    drill: Drill | None = await session.scalar(select(Drill).order_by(Drill.at.desc()).limit(1))
    return drill


async def is_due(session: AsyncSession, *, now: datetime) -> bool:
    drill = await last(session)
    return drill is None or drill.at <= now - (AGAIN if drill.findings else EVERY)


async def hold(*, now: datetime) -> list[str]:
    """Restore the latest copy and look at it; what is wrong, in words, which is kept too. Raises StorageAway."""
    began, day, rows, findings = time.monotonic(), None, 0, list[str]()
    there = await snapshots.days()
    if there:
        day = there[-1]
        rows, findings = await _tried(day, now=now)
    else:
        findings = ["there is no copy"]
    async with transaction() as session:
        seconds = time.monotonic() - began
        session.add(Drill(at=now, snapshot=day, seconds=seconds, rows=rows, findings=findings[:TOLD]))
    return findings


async def _tried(day: date, *, now: datetime) -> tuple[int, list[str]]:
    try:
        whole = await snapshots.manifest(day)
        await journal.entries()  # without it nobody could be let in
        async with _scratch() as url:
            rows = await restore.load(url, whole, now=now)
            return rows, await _look(url, taken_at=whole.taken_at)
    except (ClofyError, NotOurs, DBAPIError, asyncpg.PostgresError, OSError) as error:
        facts = f" {error.facts}" if isinstance(error, ClofyError) else ""
        return 0, [f"the copy of {day} could not be restored: {type(error).__name__}{facts}"]


async def _look(database_url: str, *, taken_at: datetime) -> list[str]:
    """Whether the books in it add up, and whether it is as young as it says."""
    engine = create_async_engine(database_url, hide_parameters=True)
    try:
        async with AsyncSession(engine) as session:
            found = [
                f"{one.rule}: account {one.account_id}, {one.kept} and not {one.expected}"
                for one in await invariants.violations(session, ALL)
            ]
            newest = await session.scalar(select(func.max(text("created_at"))).select_from(text("jobs")))
        if newest is None or newest < taken_at - LATE:
            found.append(f"its newest job is of {newest}")  # beat writes one each minute
        return found
    finally:
        await engine.dispose()


@asynccontextmanager
async def _scratch() -> AsyncIterator[str]:
    """An empty database: one that is made and dropped on the same server, or the one that was set for this."""
    if settings().drill_database_url:
        async with _given(settings().drill_database_url) as url:
            yield url
        return
    name = f"{PREFIX}{uuid4().hex[:12]}"
    server = await asyncpg.connect(**driver_options(settings().database_url))
    try:
        await _drop_left(server)
        await server.execute(f'create database "{name}"')
        try:
            yield make_url(settings().database_url).set(database=name).render_as_string(hide_password=False)
        finally:
            await server.execute(f'drop database "{name}" with (force)')
    finally:
        await server.close(timeout=5)


async def _drop_left(server: "asyncpg.Connection[Any]") -> None:
    """Of drills that were killed; one that goes on is in use, and stays."""
    left = await server.fetch("select datname::text from pg_database where starts_with(datname::text, $1)", PREFIX)
    for (name,) in left:
        with suppress(asyncpg.ObjectInUseError):
            await server.execute(f'drop database "{name}"')


@asynccontextmanager
async def _given(database_url: str) -> AsyncIterator[str]:
    """Raises NotForDrills where it has tables that no drill has left."""
    scratch = await asyncpg.connect(**driver_options(database_url))
    try:
        if await scratch.fetchval(_HAS_TABLES) and not await _is_left_by_a_drill(scratch):
            raise NotForDrills
        await scratch.execute(_EMPTY)
        try:
            yield database_url
        finally:
            await scratch.execute(_EMPTY)
    finally:
        await scratch.close(timeout=5)


async def _is_left_by_a_drill(scratch: "asyncpg.Connection[Any]") -> bool:
    """A drill never ends its restore; a database that serves has none that is open."""
    if await scratch.fetchval("select to_regclass('restores') is null"):
        return False
    return bool(await scratch.fetchval("select exists (select from restores where ended_at is null)"))


_HAS_TABLES = "select exists (select from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace)"
_EMPTY = "drop schema public cascade; create schema public"


async def findings(*, now: datetime) -> list[str]:
    """What an operator should know of copies and drills. Raises StorageAway, NoStorage."""
    found = []
    taken_at = await latest_copy()
    if await copy_is_late(now=now):
        when = f"the latest is of {taken_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if taken_at else "there is none"
        found.append(f"no copy of the last 26 hours: {when}")
    async with transaction() as session:
        drill = await last(session)
    if drill is not None:
        found += [f"the drill of {drill.at:%Y-%m-%d}: {one}" for one in drill.findings]
    if taken_at is not None and (drill is None or drill.at < now - OVERDUE):
        found.append(f"no drill for more than a week: {f'the last was on {drill.at:%Y-%m-%d}' if drill else 'never'}")
    return found
