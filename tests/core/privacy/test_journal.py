from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.media import blobs
from core.media.blobs import Room
from core.privacy import journal

pytestmark = pytest.mark.usefixtures("storage")


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    await blobs.close()


async def test_who_was_erased_twice_is_there_once_with_the_first_moment() -> None:
    account_id, at = uuid4(), datetime(2026, 2, 28, 23, 59, 59, 7, UTC)

    await journal.enter(account_id, at + timedelta(days=1))
    await journal.enter(account_id, at)
    await journal.enter(account_id, at)

    assert (await journal.entries())[journal.digest(account_id)] == at


async def test_the_journal_does_not_say_who_it_was() -> None:
    account_id = uuid4()
    await journal.enter(account_id, datetime.now(UTC))

    told = [one.name async for page in blobs.pages(Room.JOURNAL) for one in page]

    assert not any(str(account_id) in one or account_id.hex in one for one in told)
    assert any(one.startswith(journal.digest(account_id)) for one in told)
