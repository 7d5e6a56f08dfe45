"""Runs the migrations against CLOFY_DATABASE_URL, with short time-outs: a deployment must not stop the site."""

import asyncio
import importlib
import pkgutil
from typing import Any

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

import core
from core.database import Base
from core.settings import settings

for module in pkgutil.walk_packages(core.__path__, "core."):
    with_tables = module.name.endswith((".models", ".audit", ".jobs", ".limits", ".replays"))
    if with_tables or module.name.startswith("core.privacy."):
        importlib.import_module(module.name)


def of_the_models(name: str | None, kind: str, _parents: Any) -> bool:
    """The daily partitions of message_texts come and go."""
    return not (kind == "table" and name is not None and name.startswith("message_texts_"))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=of_the_models,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        connection.execute(text("set lock_timeout = '4s'"))
        connection.execute(text("set statement_timeout = '60s'"))
        context.run_migrations()


async def online() -> None:
    engine = create_async_engine(settings().database_url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


# A restore brings its own connection, so that tables and rows are one transaction (core/privacy/restore.py).
if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(online())
