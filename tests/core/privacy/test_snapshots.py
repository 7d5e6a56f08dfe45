"""Daily copies: what is in them, who can read them, and when they and the words in them go."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core.database import transaction
from core.media import blobs
from core.media.blobs import NoSuchBlob, Room
from core.privacy import snapshots
from core.privacy.snapshots import LEFT_OUT, is_due
from core.privacy.tables import TABLES
from core.sealing import NotOurs

pytestmark = pytest.mark.usefixtures("storage")
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
async def _no_copies() -> AsyncIterator[None]:
    await empty()
    yield
    await empty()
    await blobs.close()


async def empty() -> None:
    for name in await names():
        await blobs.erase(Room.SNAPSHOTS, name)


async def names(begins: str = "") -> list[str]:
    return [one.name async for page in blobs.pages(Room.SNAPSHOTS, begins=begins) for one in page]


async def raw(name: str) -> bytes:
    return b"".join([chunk async for chunk in (await blobs.fetch(Room.SNAPSHOTS, name))[1]])


async def opened(name: str) -> bytes:
    return b"".join([chunk async for chunk in snapshots.content(name)])


async def say(words: str, said_on: date) -> None:
    async with transaction() as session:
        await session.execute(
            text("insert into message_texts (said_on, message_id, text) values (:day, :id, :words)"),
            {"day": said_on, "id": uuid4(), "words": words},
        )


async def test_a_copy_has_each_table_but_those_that_must_not_come_back(account_id: UUID) -> None:
    made = await snapshots.take(now=NOW)

    assert made is not None
    assert await snapshots.days() == [NOW.date()]
    assert {part.name for part in made.tables} == {table.name for table in TABLES} - LEFT_OUT
    accounts = next(part for part in made.tables if part.name == "accounts")
    assert str(account_id).encode() in await opened(accounts.blob)
    assert await snapshots.manifest(NOW.date()) == made


def test_what_is_left_out_is_a_table() -> None:
    assert {table.name for table in TABLES} >= LEFT_OUT


async def test_nothing_in_it_can_be_read_without_the_key(account_id: UUID) -> None:
    made = await snapshots.take(now=NOW)

    assert made is not None
    for name in await names():
        assert b"accounts" not in await raw(name)
        assert str(account_id).encode() not in await raw(name)


async def test_blobs_that_changed_places_do_not_open(account_id: UUID) -> None:
    made = await snapshots.take(now=NOW)
    assert made is not None
    one, other = made.tables[0].blob, made.tables[1].blob
    await blobs.write(Room.SNAPSHOTS, one, (await blobs.fetch(Room.SNAPSHOTS, other))[1])

    with pytest.raises(NotOurs):
        await opened(one)


async def test_a_day_has_one_copy_however_often_it_is_made(account_id: UUID) -> None:
    first = await snapshots.take(now=NOW)
    before = await names()

    assert await snapshots.take(now=NOW) is None

    assert first is not None
    assert await names() == before


async def test_of_two_that_are_made_at_once_one_counts_and_is_whole(
    account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none() -> list[date]:
        return []

    monkeypatch.setattr(snapshots, "days", none)  # as it was when the other began
    first = await snapshots.take(now=NOW)
    second = await snapshots.take(now=NOW)

    assert first is not None
    assert second is None
    assert await snapshots.manifest(NOW.date()) == first
    assert {part.blob for part in (*first.tables, *first.words)} | {f"{NOW.date()}/manifest"} == set(await names())


async def test_one_that_was_killed_is_no_copy_and_the_next_attempt_is(
    account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "_sequences", None)  # after the rows
        with pytest.raises(TypeError):
            await snapshots.take(now=NOW)
    assert await snapshots.days() == []

    assert await snapshots.take(now=NOW) is not None
    assert await snapshots.days() == [NOW.date()]


async def test_the_words_of_each_day_are_a_blob_of_their_own(account_id: UUID) -> None:
    today, word = NOW.date(), f"w{uuid4().hex}"
    await say(f"{word}-yesterday", today - timedelta(days=1))
    await say(f"{word}-today", today)

    made = await snapshots.take(now=NOW)

    assert made is not None
    there = {part.day: await opened(part.blob) for part in made.words}
    assert f"{word}-yesterday".encode() in there[today - timedelta(days=1)]
    assert f"{word}-today".encode() in there[today]
    for part in made.tables:
        assert word.encode() not in await opened(part.blob)


async def test_the_words_of_a_day_leave_each_copy_when_they_leave_the_database(account_id: UUID) -> None:
    said_on = NOW.date()
    word = f"w{uuid4().hex}"
    await say(word, said_on)
    made = await snapshots.take(now=NOW)
    assert made is not None
    blob = next(part.blob for part in made.words if part.day == said_on)
    later = NOW + timedelta(days=20)
    await snapshots.take(now=later)  # a copy of twenty days on has them too

    last_second = datetime.combine(said_on + timedelta(days=29), datetime.max.time(), UTC)
    assert blob not in await gone_by(last_second)
    await snapshots.forget(now=last_second + timedelta(seconds=1))

    assert [one for one in await names() if one.endswith(f"/words/{said_on}")] == []
    with pytest.raises(NoSuchBlob):
        await opened(blob)
    assert await snapshots.days() == [later.date()]


async def gone_by(now: datetime) -> set[str]:
    before = set(await names())
    await snapshots.forget(now=now)
    return before - set(await names())


@pytest.mark.parametrize(
    ("taken", "goes"),
    [
        (date(2026, 11, 24), date(2026, 12, 24)),
        (date(2028, 1, 30), date(2028, 2, 29)),  # a leap year
        (date(2027, 1, 30), date(2027, 3, 1)),
        (date(2026, 3, 28), date(2026, 4, 27)),  # the clocks change, ours do not
    ],
)
def test_a_copy_goes_when_it_is_thirty_days_old(taken: date, goes: date) -> None:
    for name in (f"{taken}/manifest", f"{taken}/0123456789ab/rows/accounts"):
        assert not is_due(name, today=goes - timedelta(days=1))
        assert is_due(name, today=goes)


def test_words_go_by_their_own_day_and_not_by_that_of_the_copy() -> None:
    name = "2026-11-24/0123456789ab/words/2026-11-01"

    assert not is_due(name, today=date(2026, 11, 30))
    assert is_due(name, today=date(2026, 12, 1))


async def test_a_copy_is_made_with_little_memory_however_long_a_table_is(account_id: UUID) -> None:
    """40 MB of words: what waits for the storage is bounded."""
    import tracemalloc

    async with transaction() as session:
        await session.execute(
            text(
                "insert into message_texts (said_on, message_id, text)"
                " select :day, gen_random_uuid(), repeat(md5(random()::text), 312) from generate_series(1, 4000)"
            ),
            {"day": NOW.date()},
        )
    tracemalloc.start()
    try:
        made = await snapshots.take(now=NOW)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        async with transaction() as session:
            await session.execute(text("delete from message_texts where length(text) = 312 * 32"))

    assert made is not None
    assert sum(part.rows for part in made.words) >= 4000
    assert peak < 24 * 1024**2, peak
