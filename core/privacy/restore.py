"""A database made of a copy: all of it in one transaction, and then, before anybody is let in, without those who have
been erased since, and without what was due since.

Whoever serves waits (core/privacy/restores.py) until the row in `restores` has its end. A restore that was killed is
begun again with the same words: what was not committed is not there, and the rest may be done twice.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from core.accounts.models import Account
from core.database import transaction
from core.errors import ClofyError, Kind
from core.privacy import journal, purge, snapshots
from core.privacy.erasure_rows import erase_rows
from core.privacy.restores import Restore
from core.privacy.snapshots import Manifest, Part

MIGRATIONS = Path(__file__).parents[2] / "migrations"
AHEAD = timedelta(days=35)  # days of words that are made ready
ONLY_ONE = 0x636C6F6679726573  # of the advisory locks, that of restores

Tell = Callable[[str], None]


class NotEmpty(ClofyError):
    """That database has tables already. A restore goes into an empty one; nothing is written over."""

    kind = Kind.CONFLICT


class NoSnapshot(ClofyError):
    """There is no copy of that day."""

    kind = Kind.NOT_FOUND


class NotTheSame(ClofyError):
    """What was restored is not what was copied."""

    kind = Kind.CONFLICT


async def run(database_url: str, *, day: date | None, now: datetime, tell: Tell) -> None:
    """Restore into an empty database, which is that of this process, or go on with a restore that was killed.

    day: of the copy; None: the latest
    Raises NotEmpty, NoSnapshot, NotTheSame, NotOurs, StorageAway.
    """
    if await _is_begun():
        tell("going on with the restore that was begun here")
    else:
        whole = await snapshots.manifest(await _day(day))
        tell(f"copy of {whole.day}, taken at {whole.taken_at:%Y-%m-%d %H:%M:%S} UTC: what came later is not in it")
        rows = await load(database_url, whole, now=now)
        tell(f"{rows} rows loaded and compared")
    for line in await finish(database_url, now=now):
        tell(line)


async def _day(day: date | None) -> date:
    there = await snapshots.days()
    if not there or (day is not None and day not in there):
        raise NoSnapshot(day=str(day))
    return day or there[-1]


async def _is_begun() -> bool:
    """Raises NotEmpty where there is anything else than the beginning of a restore."""
    async with transaction() as session:
        tables = await session.scalar(
            text("select count(*) from pg_class where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace")
        )
        if not tables:
            return False
        if await session.scalar(text("select to_regclass('restores') is null")):
            raise NotEmpty
        if await session.scalar(select(Restore.id).where(Restore.ended_at.is_(None)).limit(1)) is None:
            raise NotEmpty
        return True


async def load(database_url: str, whole: Manifest, *, now: datetime) -> int:
    """Tables as they were, and all their rows, in one transaction; how many rows. Raises NotTheSame, NotOurs.

    Triggers of ours sleep meanwhile, which the owner of a table may order; of what belongs to a superuser nothing is
    needed: tables come in the order in which they point to each other.
    """
    async with _connected(database_url) as connection, connection.begin():
        await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": ONLY_ONE})
        await connection.run_sync(_migrate, whole.revision)
        driver = cast("asyncpg.Connection[Any]", (await connection.get_raw_connection()).driver_connection)
        await driver.execute("set local statement_timeout = 0; set local timezone = 'UTC'")
        for part in whole.tables:
            await driver.execute(f'alter table "{part.name}" disable trigger user')
        for part in reversed(whole.tables):
            await driver.execute(f'delete from "{part.name}"')  # noqa: S608  # a name of ours; what the migrations put there
        for part in whole.tables:
            await _fill(driver, part)
            await driver.execute(f'alter table "{part.name}" enable trigger user')
        await _fill_words(driver, whole, today=now.date())
        for name, last in whole.sequences:
            await driver.execute("select setval($1::text::regclass, $2)", name, last)
        await driver.execute(
            "insert into restores (snapshot, taken_at, begun_at) values ($1, $2, $3)", whole.day, whole.taken_at, now
        )
    return sum(part.rows for part in (*whole.tables, *whole.words))


async def _fill_words(driver: "asyncpg.Connection[Any]", whole: Manifest, *, today: date) -> None:
    """Words that are not due yet, of messages that are there: they were copied a moment later than those.

    Those of a canary have no message (canaries.py), and are missed if they do not come back.
    """
    first = min([today, *(part.day for part in whole.words if part.day)])
    await driver.execute("select prepare_message_partitions($1, $2)", first, today + AHEAD)
    for part in whole.words:
        if part.day is not None and not snapshots.words_are_due(part.day, today=today):
            await _fill(driver, part)
    await driver.execute(
        "delete from message_texts where not exists (select from messages where id = message_id)"
        " and not exists (select from canaries where id = message_id)"
    )


async def _fill(driver: "asyncpg.Connection[Any]", part: Part) -> None:
    await driver.copy_to_table(part.name, source=snapshots.content(part.blob), columns=part.columns)
    found = await driver.fetchrow(snapshots.sum_of(part.name, part.columns, part.day))
    if found is None or tuple(found) != (part.rows, part.sum):
        raise NotTheSame(table=part.name, day=str(part.day))


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(database_url, poolclass=pool.NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


def _migrate(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def finish(database_url: str, *, now: datetime) -> list[str]:
    """What has to be done before anybody is let in; then let them in. Says what was done, in words."""
    async with _connected(database_url) as connection, connection.begin():
        await connection.run_sync(_migrate, "head")
    said = [f"{await erase_again()} accounts that were erased are erased here, too"]
    gone = await purge.run(now=now) or []
    said.append(f"{sum(one.count for one in gone)} rows and blobs that were due since are gone")
    async with transaction() as session:
        unsent = await session.execute(text(_MAILS_END))
        said.append(f"{unsent.scalar_one()} mails that may have been sent since are not sent again")
    async with transaction() as session:
        await session.execute(update(Restore).where(Restore.ended_at.is_(None)).values(ended_at=now))
    return [*said, "done: web and workers may start"]


async def erase_again() -> int:
    """Erase whom the journal names, one by one; twice does no harm. Returns how many were named."""
    erased = await journal.entries()
    async with transaction() as session:
        ids = await session.scalars(select(Account.id))
        again = {one: erased[digest] for one in ids if (digest := journal.digest(one)) in erased}
    for account_id, at in again.items():
        async with transaction() as session:
            await erase_rows(session, account_id, now=at)
    return len(again)


# Nobody knows which of them was sent after the copy; at most once is what we promise (docs/decisions/0014).
_MAILS_END = """
    with ended as (
        update jobs set state = 'cancelled', error = 'restored', finished_at = now(), claim = null, lease_until = null
        where task in ('mail.send', 'letters.announce') and state in ('queued', 'running')
    ), unsent as (
        update mail_deliveries set state = 'failed', error = 'restored'
        where state in ('queued', 'sending', 'deferred') returning 1
    )
    select count(*) from unsent
"""
