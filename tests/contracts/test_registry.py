"""Nothing is kept that core/privacy does not know: each table, column and container has its class."""

import asyncpg

from core.media.blobs import Room
from core.privacy.places import CONTAINERS
from core.privacy.registry import Table
from core.privacy.tables import TABLES
from tests.house import House

COLUMNS = """
    select table_name, column_name from information_schema.columns
    join pg_class on pg_class.oid = format('%I.%I', table_schema, table_name)::regclass
    where table_schema = 'public' and not relispartition
"""


async def kept(database_url: str) -> set[str]:
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        return {f"{table}.{column}" for table, column in await connection.fetch(COLUMNS)}
    finally:
        await connection.close()


def listed(tables: tuple[Table, ...]) -> set[str]:
    return {f"{table.name}.{column}" for table in tables for column in table.columns}


async def test_the_list_has_every_table_and_column_of_the_database_and_no_other(house: House) -> None:
    assert await kept(house.postgres.url) == listed(TABLES)


def test_the_list_has_every_container() -> None:
    assert {one.name for one in CONTAINERS} == set(Room)
