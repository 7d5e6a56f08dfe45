from collections.abc import AsyncIterator

import pytest

from tests.house import House
from tests.workers.here import Here


@pytest.fixture
async def here(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    from workers import billing  # its Celery application reads the settings that `house` has set

    async with Here.open() as made:
        monkeypatch.setattr(billing, "process", lambda: made)
        yield made
        assert made.closers
