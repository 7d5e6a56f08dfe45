from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.azurite import Azurite, is_installed
from sandbox.postgres import scratch_directory
from tests.house import Stack
from tests.journeys.person import Person


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """The whole product, with two web processes; a test that kills something starts it again."""
    with scratch_directory() as directory, Stack(directory) as whole:
        yield whole


@pytest.fixture
def storage(stack: Stack) -> Iterator[Azurite]:
    """Where the product's blobs are kept."""
    if not is_installed():
        pytest.skip("npm could not install Azurite on this machine")
    stack.azurite.start()
    yield stack.azurite
    stack.azurite.stop()


@pytest.fixture(autouse=True)
def _calm(stack: Stack) -> None:
    """Knobs as at the start, no messages that an earlier test's killed worker has left in its hands, and no counts of
    tries: all people of these tests come from one address, more of them than an office has in an hour.
    """
    stack.reset()
    stack.sql("delete from limit_counts")
    with stack.redis() as redis:
        redis.delete("unacked", "unacked_index")


@pytest.fixture
async def person(stack: Stack) -> AsyncIterator[Person]:
    """Registered, signed in, with 500 credits that were bought."""
    async with Person.at(stack) as somebody:
        await somebody.register()
        await somebody.buy("starter")
        await somebody.until_credits(500_000)
        yield somebody
