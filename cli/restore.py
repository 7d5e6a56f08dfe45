"""Make a database of a copy: `python -m cli restore --into postgresql+asyncpg://...`."""

import argparse
import os
from datetime import UTC, date, datetime

from core import secrets
from core.direct import close_connections
from core.media import blobs
from core.privacy import restore
from core.settings import settings


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = commands.add_parser("restore", help="make a database of a daily copy, without those who were erased since")
    words.add_argument(
        "--at", type=date.fromisoformat, metavar="DAY", help="the day of the copy; the latest unless set"
    )
    words.add_argument("--into", required=True, metavar="URL", help="an empty database; its password may be PGPASSWORD")


async def run(given: argparse.Namespace) -> None:
    """The database that it goes into is that of this process. Raises NotEmpty, NoSnapshot and what the store does."""
    os.environ["CLOFY_DATABASE_URL"] = given.into
    settings.cache_clear()
    try:
        await secrets.load()
        await restore.run(given.into, day=given.at, now=datetime.now(UTC), tell=print)
    finally:
        await blobs.close()
        await close_connections()
