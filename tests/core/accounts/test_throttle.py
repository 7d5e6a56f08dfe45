import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import throttle
from core.accounts.models import Throttle
from core.accounts.throttle import Guarded, TooManyTries
from core.database import transaction
from tests.house import House

GUARDED = Guarded("test", free=3, longest=timedelta(seconds=5), forgotten_after=timedelta(minutes=15))


@pytest.fixture
def who() -> str:
    return uuid4().hex


async def waits(session: AsyncSession, who: str) -> float:
    try:
        await throttle.admit(session, GUARDED, who=who)
    except TooManyTries as error:
        return error.retry_after
    return 0.0


async def opened(session: AsyncSession, who: str) -> None:
    """Move the moment at which the next try is taken into the past."""
    key = throttle._key(GUARDED, who)
    await session.execute(
        update(Throttle).where(Throttle.key == key).values(open_at=func.clock_timestamp() - timedelta(seconds=1))
    )


async def test_a_few_tries_are_free_then_each_waits_longer_up_to_a_bound(session: AsyncSession, who: str) -> None:
    free = [await waits(session, who) for _ in range(3)]
    grown = []
    for _ in range(5):
        grown.append(await waits(session, who))
        await opened(session, who)
        assert await waits(session, who) == 0

    assert free == [0, 0, 0]
    assert [round(wait) for wait in grown] == [1, 2, 4, 5, 5]


async def test_a_refused_try_does_not_make_the_wait_longer(session: AsyncSession, who: str) -> None:
    for _ in range(3):
        await waits(session, who)

    first = await waits(session, who)
    for _ in range(10):
        last = await waits(session, who)

    assert 0 < last <= first


async def test_tries_are_forgotten_in_time_and_forgiven_at_success(session: AsyncSession, who: str) -> None:
    for _ in range(3):
        await waits(session, who)
    key = throttle._key(GUARDED, who)
    long_ago = func.clock_timestamp() - timedelta(minutes=16)
    await session.execute(update(Throttle).where(Throttle.key == key).values(last_at=long_ago, open_at=long_ago))

    assert [await waits(session, who) for _ in range(3)] == [0, 0, 0]
    assert await waits(session, who) > 0
    await throttle.forgive(session, GUARDED, who=who)
    assert await waits(session, who) == 0


async def test_of_many_parallel_tries_only_the_free_ones_get_through(house: House, who: str) -> None:
    async def try_once() -> bool:
        async with transaction() as session:
            return await waits(session, who) == 0

    through = await asyncio.gather(*(try_once() for _ in range(20)))

    assert sum(through) == GUARDED.free
