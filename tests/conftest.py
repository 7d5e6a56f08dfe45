"""What all tests share: a house of real services, and this process's view of it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol
from sqlalchemy.ext.asyncio import AsyncSession

from core.credits import ledger
from core.database import engine, sessions, transaction
from core.direct import close_connections
from core.queue import close_doorbell
from core.telemetry import start_logging
from sandbox.azurite import Azurite, is_installed
from sandbox.postgres import scratch_directory
from tests import makers
from tests.house import House


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    """One for the whole run; tests keep out of each other's way by accounts of their own."""
    with scratch_directory() as directory, House(directory) as here:
        os.environ.update(here.settings)
        yield here


@pytest.fixture(scope="session", autouse=True)
async def _pool() -> AsyncIterator[None]:
    yield
    await close_doorbell()
    await close_connections()


@pytest.fixture(scope="session")
def storage(house: House) -> Azurite:
    """Where pictures are kept."""
    if not is_installed():
        pytest.skip("npm could not install Azurite on this machine")
    house.azurite.start()
    return house.azurite


@pytest.fixture
async def session(house: House) -> AsyncIterator[AsyncSession]:
    """A session that is rolled back at the end. What opens its own transactions does not see into it."""
    engine()
    async with sessions() as one:
        yield one
        await one.rollback()


@pytest.fixture
async def account_id(house: House) -> UUID:
    """A committed account, with nothing."""
    async with transaction() as one:
        return await makers.make_account(one)


@pytest.fixture
async def rich_id(account_id: UUID) -> UUID:
    """A committed account with 1,000 credits."""
    async with transaction() as one:
        await ledger.grant(one, account_id=account_id, amount_mc=1_000_000, source=f"test:{account_id}", kind="grant")
    return account_id


@pytest.fixture
async def app(house: House) -> AsyncIterator[Quart]:
    from web.app import create_app  # reads the settings that `house` has set

    made = create_app()
    async with made.test_app():
        yield made


@pytest.fixture
def client(app: Quart) -> TestClientProtocol:
    return app.test_client()


@pytest.fixture
def alarms(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """What was logged as an error since this was asked last: the event and its facts."""
    start_logging("tests")  # as a process of ours does; before it, loggers print

    def since() -> list[dict[str, Any]]:
        told = [one.msg for one in caplog.records if one.levelname == "ERROR" and isinstance(one.msg, dict)]
        caplog.clear()
        return told

    return since
