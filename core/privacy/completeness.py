"""Whether the registry knows all that we keep: `make check` fails by what it does not, on the migrated database.

`python -m core.privacy.completeness` prints what is wrong, a line each.
"""

import ast
import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import close_engine, transaction
from core.media.blobs import Room
from core.privacy.places import CONTAINERS, KEYS
from core.privacy.registry import KINDS, DataClass, Table
from core.privacy.tables import TABLES

ROOT = Path(__file__).parent.parent.parent
OURS = ("core", "web", "workers", "cli")
CONTAINER_CALLS = {"create_container", "get_container_client", "get_blob_client", "delete_container"}
KEY_CALLS = {"set", "setex", "hset", "sadd", "zadd", "xadd", "lpush", "rpush", "incr", "publish", "subscribe", "expire"}
KEY = re.compile(r"[a-z][a-z0-9_.-]*:(?!//)\S*")  # how a key of ours begins

# What is counted from without an index. These tables are small, for their rows live for hours; or each visit writes the
# column, so that an index would cost more than it saves.
SCANNED = {
    "account_codes.created_at",
    "email_codes.created_at",
    "erasures.ended_at",
    "exports.ended_at",
    "lost_factors.ended_at",
    "reconciliations.started_at",
    "restores.ended_at",
    "team_invitations.expires_at",
    "totps.created_at",
    "web_sessions.expires_at",
    "web_sessions.seen_at",
}
# Texts of the code that look like keys of Redis and are none.
NO_KEYS = ("account:", "every:", "workers.consumer:Consumer")

# Whatever holds rows, in any schema of ours; the parts of a partitioned table are in it.
COLUMNS = """
    select case nspname when 'public' then '' else nspname || '.' end || relname as table, attname as column,
           format_type(atttypid, atttypmod) as type
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'p', 'm', 'f') and not relispartition and attnum > 0 and not attisdropped
        and nspname !~ '^pg_' and nspname <> 'information_schema'
"""
POINTS_TO = """
    select distinct conrelid::regclass::text as table, confrelid::regclass::text as other, confdeltype = 'c' as cascades
    from pg_constraint join pg_class on pg_class.oid = conrelid where contype = 'f' and not relispartition
"""
FIRST_OF_INDEXES = """
    select indrelid::regclass::text as table, attname as column
    from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
"""
Columns = Mapping[str, Mapping[str, str]]  # table: column: type
Pointers = Sequence[tuple[str, str, bool]]  # table, what it points to, whether it goes with that


async def faults(
    session: AsyncSession, tables: Sequence[Table] = TABLES, rooms: Iterable[str] = Room, root: Path = ROOT
) -> list[str]:
    """What is kept and not listed, is listed and not kept, or does not fit together."""
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in await session.execute(text(COLUMNS)):
        columns.setdefault(table, {})[column] = kind
    points_to = [(table, other, cascades) for table, other, cascades in await session.execute(text(POINTS_TO))]
    indexed = {(table, column) for table, column in await session.execute(text(FIRST_OF_INDEXES))}
    return [
        *_of_columns(columns, tables),
        *_of_owners(columns, points_to, tables),
        *_of_order(points_to, tables),
        *_of_terms(columns, indexed, points_to, tables),
        *[fault for table in tables async for fault in _of_sql(session, table)],
        *_of_containers(rooms),
        *_of_code(root),
    ]


def _of_columns(columns: Columns, tables: Sequence[Table]) -> Iterator[str]:
    kept = {f"{table}.{column}" for table in columns for column in columns[table]}
    listed = {f"{table.name}.{column}" for table in tables for column in table.columns}
    for table in sorted(columns.keys() - {one.name for one in tables}):
        yield f"{table}: a table that has no class"
    for column in sorted(kept - listed):
        if column.rpartition(".")[0] in {one.name for one in tables}:
            yield f"{column}: a column that has no class"
    for column in sorted(listed - kept):
        yield f"{column}: is listed, and there is no such column"
    for one in tables:
        words = f"{one.given} {one.secret} {one.inner}".split()
        if twice := {word for word in words if words.count(word) > 1}:
            yield f"{one.name}: {', '.join(sorted(twice))} listed twice"
        for column in one.blank.keys() | {name for ends in one.all_ends for name in ends.blank}:
            if column not in one.columns:
                yield f"{one.name}.{column}: is blanked, and there is no such column"


def _of_owners(columns: Columns, points_to: Pointers, tables: Sequence[Table]) -> Iterator[str]:
    of_people = {table for table, other, _ in points_to if other == "accounts"}
    for one in tables:
        if not one.owner and (one.name in of_people or "account_id" in columns.get(one.name, {})):
            yield f"{one.name}: names an account, and has no owner"
        if one.owner.count(":account") != one.owner.count("= :account"):
            yield f"{one.name}: its owner compares :account otherwise than by ="  # the purge puts `= any(...)` there


def _of_order(points_to: Pointers, tables: Sequence[Table]) -> Iterator[str]:
    place = {table.name: number for number, table in enumerate(tables)}
    for table, other, _ in points_to:
        if table in place and other in place and place[table] < place[other]:
            yield f"{table}: is listed before {other}, to which it points"


def _of_terms(
    columns: Columns, indexed: set[tuple[str, str]], points_to: Pointers, tables: Sequence[Table]
) -> Iterator[str]:
    ending = {table.name for table in tables if table.ends is not None}
    ending |= {table for table, other, cascades in points_to if cascades and other in ending}
    for table in tables:
        kept = KINDS[table.of].kept
        if kept is not None and table.of is not DataClass.BILLING and table.name not in ending:
            yield f"{table.name}: its class has a term, and it has none"
        for ends in table.all_ends:
            if kept is not None and ends.after > kept:
                yield f"{table.name}: is kept for longer than its class"
            kind = columns.get(table.name, {}).get(ends.since, "none")
            if kind not in ("timestamp with time zone", "date"):
                yield f"{table.name}.{ends.since}: is no moment from which a term can be counted"
            if (table.name, ends.since) not in indexed and f"{table.name}.{ends.since}" not in SCANNED:
                yield f"{table.name}.{ends.since}: is counted from, and has no index"


async def _of_sql(session: AsyncSession, table: Table) -> AsyncIterator[str]:
    """Whether PostgreSQL understands what is written there; nothing is run."""
    conditions = [table.owner.replace(":account", "cast(null as uuid)"), *[ends.only for ends in table.all_ends]]
    values = [*table.blank.values(), *[value for ends in table.all_ends for value in ends.blank.values()]]
    where = " and ".join(f"({one})" for one in conditions if one) or "true"
    try:
        async with session.begin_nested():
            query = f"explain select {', '.join(values) or 1} from {table.name} where {where}"  # noqa: S608  # our words
            await (await session.connection()).exec_driver_sql(query)
    except DBAPIError as error:
        yield f"{table.name}: {str(error.orig).splitlines()[0]}"


def _of_containers(rooms: Iterable[str]) -> Iterator[str]:
    listed = {one.name for one in CONTAINERS}
    for room in sorted(set(rooms) - listed):
        yield f"{room}: a container that has no class"
    for name in sorted(listed - set(rooms)):
        yield f"{name}: is listed, and there is no such container"


def _of_code(root: Path) -> Iterator[str]:
    """Keys of Redis and containers that the code names: each begins as one that is listed."""
    files = [path for folder in OURS for path in sorted((root / folder).rglob("*.py"))]
    trees = {path.relative_to(root).as_posix(): ast.parse(path.read_text()) for path in files}
    constants = {name: value for tree in trees.values() for name, value in _constants(tree)}
    for where, tree in trees.items():
        talks = any("redis" in name.lower() for node in ast.walk(tree) for name in _names(node))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
                word = _beginning(node.args[0], constants)
                if node.func.attr in CONTAINER_CALLS and word is not None:
                    yield f"{where}:{node.lineno}: {word}: a container that is no Room"
                if talks and node.func.attr in KEY_CALLS and word is not None and not _is_listed(word):
                    yield f"{where}:{node.lineno}: {word}: a key of Redis that has no class"
            elif talks and isinstance(node, ast.Constant | ast.JoinedStr):
                word = _beginning(node, {})
                if word is not None and KEY.fullmatch(word) and not _is_listed(word):
                    yield f"{where}:{node.lineno}: {word}: a key of Redis that has no class"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((target.id, node.value.value) for target in node.targets if isinstance(target, ast.Name))


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.name for alias in node.names)
        yield getattr(node, "module", None) or ""


def _beginning(node: ast.expr, constants: Mapping[str, str]) -> str | None:
    """What a text of the code begins with, as far as it is written there."""
    if isinstance(node, ast.JoinedStr):
        return _beginning(node.values[0], constants) if node.values else None
    if isinstance(node, ast.BinOp):
        return _beginning(node.left, constants)
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.Attribute):
        return constants.get(node.attr)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_listed(word: str) -> bool:
    return any(word.startswith(prefix) for prefix in (*NO_KEYS, *(one.prefix for one in KEYS)))


async def main() -> int:
    async with transaction() as session:
        found = await faults(session)
    await close_engine()
    for fault in found:
        print(fault, file=sys.stderr)  # noqa: T201  # a command line
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
