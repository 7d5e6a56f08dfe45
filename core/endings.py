"""Sessions that end, and notices that come or are read, told by PostgreSQL to every web process in the moment of the
commit, whoever ended or wrote them and how.

Triggers tell (migrations 0011 and 0014), so that a sign-out, a revoke, a reset, a disabling and a statement by hand are
alike, and Redis being away delays nothing. What is told is only a reason to look: the row decides.
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

CHANNELS = ("session_ended", "notices")  # tell the id of the session, and that of the account
CONNECT_SECONDS = 5.0
ASKED_EVERY = 15.0  # seconds, whether the connection is still one: a wire that was cut tells nobody
LONGEST_PAUSE = 2.0  # seconds between two tries to connect

logger = log(__name__)


async def follow(told: Callable[[UUID], None], missed: Callable[[], None]) -> None:
    """Call `told` with the id of each session that ends and account with news, for ever; on a connection of its own.

    missed: called whenever we begin to listen, for there is no telling what ended before
    """
    pause = 0.1
    while True:
        driver: Any = None
        try:
            driver = await asyncpg.connect(**driver_options(settings().database_url) | {"timeout": CONNECT_SECONDS})
            gone = asyncio.Event()
            driver.add_termination_listener(lambda _, gone=gone: gone.set())
            for channel in CHANNELS:
                await driver.add_listener(channel, lambda _connection, _pid, _channel, whose: told(UUID(whose)))
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
