from collections.abc import AsyncIterator

import pytest

from core import streams
from tests.house import House
from tests.workers.here import Here


@pytest.fixture
async def here(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    from workers import billing  # its Celery application reads the settings that `house` has set

    redis = streams.connect()
    made = Here(streams.Wire(redis))
    monkeypatch.setattr(billing, "process", lambda: made)
    yield made
    await made.wire.close()
    await redis.aclose()
    assert made.closers
    for close in made.closers:
        await close()
