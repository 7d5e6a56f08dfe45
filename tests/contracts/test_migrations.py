"""The migrations lead to the models, back to nothing, and to the models again."""

import os
import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from sandbox.postgres import Postgres
from sandbox.reach import scratch_directory
from tests.contracts.deployment import ROOT
from tests.house import House

SHAPE = """
    select 'column', table_name, column_name, data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
    from information_schema.columns where table_schema = 'public'
    union all
    select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace
    union all
    select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'public'
    union all
    select 'function', proname, '', md5(prosrc) from pg_proc where pronamespace = 'public'::regnamespace
    union all
    select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all
    select 'type', typname, '', typtype::text from pg_type
    where typnamespace = 'public'::regnamespace and typtype in ('e', 'd')
"""
Shape = set[tuple[str, ...]]


@pytest.fixture(scope="module")
def empty(house: House) -> Iterator[Postgres]:
    """A server of its own: the others' database must not lose its tables."""
    with scratch_directory() as directory, Postgres(directory) as postgres:
        yield postgres


def alembic(postgres: Postgres, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CLOFY_DATABASE_URL": postgres.url}
    return subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def moved(postgres: Postgres, *words: str) -> None:
    done = alembic(postgres, *words)
    assert done.returncode == 0, done.stderr


async def shape(postgres: Postgres) -> Shape:
    """All that the database holds but rows; the partitions of a day are apart, as they come and go."""
    connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch(SHAPE)
    finally:
        await connection.close()
    return {tuple(row) for row in rows if not any("message_texts_" in str(part) for part in row)}


def test_the_migrations_have_one_head() -> None:
    script = ScriptDirectory.from_config(Config(ROOT / "alembic.ini"))

    assert len(script.get_heads()) == 1


async def test_up_down_and_up_again_gives_the_same_database_and_it_is_that_of_the_models(empty: Postgres) -> None:
    moved(empty, "upgrade", "head")
    first = await shape(empty)
    moved(empty, "downgrade", "base")
    left = {row for row in await shape(empty) if "alembic_version" not in " ".join(row)}
    moved(empty, "upgrade", "head")
    second = await shape(empty)
    compared = alembic(empty, "check")

    assert len(first) > 100
    assert left == set()
    assert second == first
    assert compared.returncode == 0, compared.stdout + compared.stderr
