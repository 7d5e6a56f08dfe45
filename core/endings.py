"""Sessions that end, told by PostgreSQL to every web process in the moment of the commit, whoever ended them and how.

A trigger tells (migration 0011), so that a sign-out, a revoke, a reset, a disabling and a statement by hand are alike,
and Redis being away delays nothing. What is told is only a reason to look: the row decides.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg

from core.direct import driver_options
from core.settings import settings
from core.telemetry import log

CHANNEL = "session_ended"
CONNECT_SECONDS = 5.0
ASKED_EVERY = 15.0  # seconds, whether the connection is still one: a wire that was cut tells nobody
LONGEST_PAUSE = 2.0  # seconds between two tries to connect

logger = log(__name__)


async def follow(ended: Callable[[UUID], None], missed: Callable[[], None]) -> None:
    """Call `ended` with the id of each session that ends, for ever; it has a connection of its own.

    missed: called whenever we begin to listen, for there is no telling what ended before
    """
    pause = 0.1
    while True:
        driver: Any = None
        try:
            driver = await asyncpg.connect(**driver_options(settings().database_url) | {"timeout": CONNECT_SECONDS})
            gone = asyncio.Event()
            driver.add_termination_listener(lambda _, gone=gone: gone.set())
            await driver.add_listener(CHANNEL, lambda _connection, _pid, _channel, told: ended(UUID(told)))
            pause = 0.1
            missed()
            await _until_gone(driver, gone)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:  # OSError: time-outs too
            logger.warning("endings_unheard", error=type(error).__name__)
        finally:
            if driver is not None:
                driver.terminate()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _until_gone(driver: Any, gone: asyncio.Event) -> None:
    while not gone.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), ASKED_EVERY)
            return
        await driver.execute("select 1", timeout=CONNECT_SECONDS)
