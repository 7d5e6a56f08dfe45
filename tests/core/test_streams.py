import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import orjson
import pytest
from redis.asyncio import Redis

from core import streams
from core.streams import Event, Wire
from tests.house import House


@pytest.fixture
async def redis(house: House) -> AsyncIterator[Redis]:
    client = streams.connect()
    yield client
    await client.aclose()


@asynccontextmanager
async def a_wire(redis: Redis) -> AsyncIterator[Wire]:
    wire = Wire(redis)
    try:
        yield wire
    finally:
        await wire.close()


async def sent(wire: Wire) -> None:
    await asyncio.wait_for(wire._idle.wait(), 5)


def said(events: list[Event]) -> list[tuple[str, str]]:
    return [(f"{one.id[0]}-{one.id[1]}", one.type) for one in events]


def shown(events: list[Event]) -> str:
    text = ""
    for one in events:
        data = orjson.loads(one.body)["data"]
        text = data["text"] if one.type in streams.RESETS else text + data.get("text", "")
    return text


def begin(wire: Wire, job_id: object, attempt: int) -> streams.Writer:
    writer = wire.writer(job_id, attempt)  # type: ignore[arg-type]
    writer.emit("started" if attempt == 1 else "restarted", {"attempt": attempt, "text": "", "tokens": 0})
    return writer


async def test_events_come_in_order_with_ids_without_a_gap(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        for number in range(5):
            writer.delta(f"{number} ", number + 1)
            await sent(wire)
        writer.emit("done", {"result": None})
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert said(events) == [
        ("1-0", "started"),
        *[(f"1-{number}", "delta") for number in range(1, 6)],
        ("2-0", "done"),
    ]
    last = streams.START
    for event in events:
        assert streams.follows(last, event)
        last = event.id


async def test_what_piles_up_melts_into_one_delta(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        for number in range(500):
            writer.delta("word ", number + 1)
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert shown(events) == "word " * 500
    assert len(events) == 2
    assert orjson.loads(events[1].body)["data"]["tokens"] == 500


async def test_an_attempt_begins_with_its_first_words(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BEGIN_SECONDS", 60)
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = wire.writer(job_id, 1)
        writer.begin("started", {"attempt": 1, "text": "", "tokens": 0})
        alone = begin(wire, uuid4(), 1)
        await alone.sent()
        before = await streams.read(redis, job_id, streams.START)
        writer.delta("word", 1)
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert before == []
    assert said(events) == [("1-0", "started"), ("1-1", "delta")]


async def test_an_attempt_without_words_begins_a_little_later(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        wire.writer(job_id, 1).begin("started", {"attempt": 1, "text": "", "tokens": 0})
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert said(events) == [("1-0", "started")]


async def test_a_beginning_that_waits_is_told_before_the_wire_is_closed(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BEGIN_SECONDS", 60)
    job_id = uuid4()
    async with a_wire(redis) as wire:
        wire.writer(job_id, 1).begin("started", {"attempt": 1, "text": "", "tokens": 0})

    assert said(await streams.read(redis, job_id, streams.START)) == [("1-0", "started")]


async def test_who_waits_for_its_words_to_be_sent_waits_for_all_of_them(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        await asyncio.sleep(0)  # the beginning is under way
        writer.delta("word", 1)
        await writer.sent()
        under_way = list(writer._sending)

        events = await streams.read(redis, job_id, streams.START)

    assert under_way == []
    assert said(events) == [("1-0", "started"), ("1-1", "delta")]


async def test_nobody_waits_long_for_a_frozen_redis(house: House, redis: Redis) -> None:
    async with a_wire(redis) as wire:
        writer = begin(wire, uuid4(), 1)
        await writer.sent()
        house.freeze_redis()
        try:
            writer.delta("word", 1)
            async with asyncio.timeout(1):
                await writer.sent()
            unsent = bool(writer._sending)
        finally:
            house.thaw_redis()
        await sent(wire)

    assert unsent


async def test_an_attempt_that_lost_its_job_is_fenced(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        old = begin(wire, job_id, 1)
        old.delta("old ", 1)
        await sent(wire)
        new = begin(wire, job_id, 2)
        new.delta("new ", 1)
        await sent(wire)

        old.delta("stale ", 2)
        await sent(wire)
        new.delta("text", 2)
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert old.fenced
    assert not new.fenced
    assert shown(events) == "new text"
    assert "stale" not in str([one.body for one in events])


async def test_a_stream_that_redis_forgot_begins_anew_with_the_whole_text(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        writer.delta("one ", 1)
        await sent(wire)
        await redis.delete(streams.key(job_id))
        writer.delta("two ", 2)
        await sent(wire)
        writer.delta("three", 3)
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert events[0].type == "restarted"
    assert shown(events) == "one two three"


async def test_events_wait_while_redis_is_away_and_come_once(house: House, redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        writer.delta("before ", 1)
        await sent(wire)
        house.valkey.stop()
        for number in range(50):
            writer.delta(f"{number} ", number + 2)
            await asyncio.sleep(0.01)  # so that some are tried while it is away
        house.valkey.start()
        writer.emit("done", {"result": None})
        await sent(wire)

        events = await streams.read(redis, job_id, streams.START)

    assert shown(events[:-1]) == "before " + "".join(f"{number} " for number in range(50))
    assert len({one.id for one in events}) == len(events)


async def test_an_event_whose_answer_was_lost_is_not_doubled_and_not_taken_for_a_fence(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        await sent(wire)
        writer.delta("once ", 1)
        events = writer.take()  # as if it had been sent, and the connection broke before Redis' answer
        await redis.xadd(streams.key(job_id), {"e": events[0].body}, id="1-1")
        writer.delta("twice", 2)
        await sent(wire)

        kept = await streams.read(redis, job_id, streams.START)

    assert not writer.fenced
    assert shown(kept) == "once twice"


async def test_streams_end_by_themselves(redis: Redis) -> None:
    job_id = uuid4()
    async with a_wire(redis) as wire:
        writer = begin(wire, job_id, 1)
        await sent(wire)
        running = await redis.ttl(streams.key(job_id))
        writer.emit("done", {"result": None})
        await sent(wire)
        ended = await redis.ttl(streams.key(job_id))

    assert 0 < running <= streams.LIFE_RUNNING
    assert 0 < ended <= streams.LIFE_ENDED


@pytest.mark.parametrize("text", ["1", "1-", "-1", "1-x", "１-1", "1-1-1", "9" * 30, " 1-1", "1- 1"])
def test_what_is_no_event_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        streams.parse_id(text)


def test_an_empty_id_is_before_the_first() -> None:
    assert streams.parse_id("") == streams.START < streams.QUEUED < streams.parse_id("1-0")


async def test_connections_that_a_restart_of_redis_has_cut_are_not_felt(house: House, redis: Redis) -> None:
    """Of all that the pool has, one after the other: else each would fail somebody's first request."""
    await asyncio.gather(*[redis.ping() for _ in range(20)])

    house.valkey.stop()
    house.valkey.start()

    assert await asyncio.gather(*[redis.ping() for _ in range(20)]) == [True] * 20
