"""The wire: what browsers are told of a job while it runs. It may be lost at any moment; the job's row then answers.

A job's events are a Redis stream with ids that we choose, "<attempt>-<n>". Redis refuses an id that is not above the
last one, so an attempt that lost its job cannot write any more (the fence), and a reader sees from the ids alone
whether something is missing. The same ids travel over sockets and polls.

    0-1  queued      n-0  started or restarted, by attempt n      n-1, n-2, ...  deltas and progress
    m-0  the end (done, failed, cancelled), where m is the number of attempts + 1
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from core.settings import settings
from core.telemetry import log

MOST_EVENTS = 10_000  # above the cap on tokens of any service, so that a running answer is never trimmed
LIFE_RUNNING = 3600  # seconds from the start
LIFE_ENDED = 900  # seconds from the end
BEGIN_SECONDS = 0.03  # that the beginning of an attempt may wait for its first words
SENT_SECONDS = 0.05  # that a worker waits at most until Redis has its first words
MOST_FORGOTTEN = 500  # streams in one command
STOP_CHANNEL = "stop"  # ids of jobs that somebody asked to stop; the row says so too

EventId = tuple[int, int]
START: EventId = (0, 0)
QUEUED: EventId = (0, 1)
RESETS = frozenset({"started", "restarted"})  # what was shown before counts no more
ENDS = frozenset({"done", "failed", "cancelled"})


def parse_id(text: str) -> EventId:
    """The id of an event, as clients send it back; "" is before the first. Raises ValueError."""
    if not text:
        return START
    attempt, _, n = text.partition("-")
    if not (attempt.isascii() and attempt.isdigit() and n.isascii() and n.isdigit()) or len(text) > 20:
        raise ValueError("an event id is <attempt>-<n>")
    return int(attempt), int(n)


@dataclass(frozen=True)
class Event:
    id: EventId
    type: str
    body: bytes  # {"id", "type", "data"} as JSON: encoded once, by the worker

    @property
    def ends(self) -> bool:
        return self.type in ENDS


def event(event_id: EventId, kind: str, data: dict[str, Any]) -> Event:
    name = f"{event_id[0]}-{event_id[1]}"
    return Event(event_id, kind, orjson.dumps({"id": name, "type": kind, "data": data}))


def end_event(attempts: int, kind: str, data: dict[str, Any]) -> Event:
    """The last event of a job: the same whether its worker tells it or its row."""
    return event((attempts + 1, 0), kind, data)


def decode(body: bytes) -> Event:
    parsed = orjson.loads(body)
    return Event(parse_id(parsed["id"]), parsed["type"], body)


def follows(last: EventId, new: Event) -> bool:
    """Whether nothing is missing between the last event that a reader has and this one."""
    attempt, n = new.id
    return new.type in RESETS or new.ends or new.type == "queued" or (attempt == last[0] and n == last[1] + 1)


def key(job_id: UUID) -> str:
    return f"run:{job_id}"


def connect() -> "redis_asyncio.Redis":
    """A client of the streams' Redis, for the loop that calls; time-outs short, since all of this may be lost."""
    pool = redis_asyncio.BlockingConnectionPool.from_url(
        settings().streams_url,
        socket_timeout=5,
        socket_connect_timeout=2,
        # Once more on a connection that is no longer there: after a restart of Redis the pool has such ones. Who calls
        # knows better what to do about a Redis that is away or frozen.
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        socket_keepalive=True,
        health_check_interval=25,
        max_connections=64,  # more wait for one: after a restart of the web, all its readers come back at once
        timeout=5,
    )
    return redis_asyncio.Redis.from_pool(pool)


async def read(redis: "redis_asyncio.Redis", job_id: UUID, after: EventId) -> list[Event]:
    """The events after an id, in order. Empty when there are none, or none any more."""
    entries: Any = await redis.xrange(key(job_id), min=f"({after[0]}-{after[1]}" if after > START else "-")
    return [decode(fields[b"e"]) for _, fields in entries]


async def tell_end(redis: "redis_asyncio.Redis", job_id: UUID, end: Event) -> None:
    """Write the end of a job that no worker holds. The row has it already: a Redis that is away is no error."""
    pipe = redis.pipeline(transaction=False)
    _add(pipe, job_id, end, create=True)
    pipe.expire(key(job_id), LIFE_ENDED)
    with suppress(RedisError, OSError):
        await pipe.execute(raise_on_error=False)


async def forget(redis: "redis_asyncio.Redis", job_ids: Sequence[UUID]) -> None:
    """Delete what was told of these jobs. A Redis that is away forgets it by itself, within LIFE_RUNNING."""
    with suppress(RedisError, OSError):
        for first in range(0, len(job_ids), MOST_FORGOTTEN):
            await redis.unlink(*[key(job_id) for job_id in job_ids[first : first + MOST_FORGOTTEN]])


async def ask_to_stop(redis: "redis_asyncio.Redis", job_id: UUID) -> None:
    """Tell the workers at once; without Redis the one that runs it learns it from its next heartbeat."""
    with suppress(RedisError, OSError):
        await redis.publish(STOP_CHANNEL, str(job_id))


def _add(pipe: Any, job_id: UUID, one: Event, *, create: bool) -> None:
    name = key(job_id)
    pipe.xadd(
        name,
        {"e": one.body},
        id=f"{one.id[0]}-{one.id[1]}",
        maxlen=MOST_EVENTS,
        approximate=True,
        nomkstream=not create,
    )
    pipe.publish(name, one.body)


@dataclass(eq=False)
class Writer:
    """The events of one attempt. Calls return at once; the wire sends them in order."""

    wire: "Wire"
    job_id: UUID
    attempt: int
    _next: int = 0
    _pending: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _sending: list[Event] = field(default_factory=list)  # not yet confirmed; sent again with the same ids
    _said: list[str] = field(default_factory=list)
    _tokens: int = 0
    _lost: bool = False  # Redis has forgotten the stream: what was said is to be said again
    _sent: asyncio.Future[None] | None = None  # somebody waits until all is confirmed
    fenced: bool = False  # another attempt writes: all of this one's further events are dropped

    def begin(self, kind: str, data: dict[str, Any]) -> None:
        """Tell that an attempt begins: with its first words, or after BEGIN_SECONDS when they are not there by then."""
        self._pending.append((kind, data))
        self.wire.wake_soon(self)

    def delta(self, text: str, tokens: int) -> None:
        """Add to the answer. tokens: how many it has in all by now"""
        self._said.append(text)
        self._tokens = tokens
        if self._pending and self._pending[-1][0] == "delta":
            last = self._pending[-1][1]
            last["text"] += text
            last["tokens"] = tokens
            return
        self.emit("delta", {"text": text, "tokens": tokens})

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        """Tell something else; the end of a job only once its row says so."""
        if not self.fenced:
            self._pending.append((kind, data))
            self.wire.wake(self)

    async def sent(self) -> None:
        """Until Redis has all that was told so far, or SENT_SECONDS have passed."""
        if self._pending or self._sending:
            self._sent = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._sent], timeout=SENT_SECONDS)

    def take(self) -> list[Event]:
        """What is to be sent now; the same again until it is `answered`."""
        if self._lost:
            self._lost = False
            ends = [one for one in self._pending if one[0] in ENDS]
            again = {"attempt": self.attempt, "text": "".join(self._said), "tokens": self._tokens}
            self._pending = [("restarted", again), *ends]
            self._sending = []
        for kind, data in self._pending:
            if kind in ENDS:
                number = (self.attempt + 1, 0)
            else:
                number = (self.attempt, self._next)
                self._next += 1
            self._sending.append(event(number, kind, data))
        self._pending = []
        return self._sending

    def answered(self, replies: list[Any]) -> bool:
        """Redis' answers to the events that were taken, one each. Returns whether an id was refused: then look why."""
        sent, self._sending = self._sending, []
        if self._sent is not None and not self._pending:
            self._sent.set_result(None)
            self._sent = None
        if any(reply is None for reply in replies) and not any(one.ends for one in sent):
            self._lost = True  # the stream is gone; readers get the whole text anew, now
            self.wire.wake(self)
        errors = [str(reply) for reply in replies if isinstance(reply, Exception)]
        refused = any("equal or smaller" in error for error in errors)
        if errors and not refused:
            log(__name__).error("wire_refused", job=str(self.job_id), error=errors[0])
            self._lost = True  # full, or not a stream: the text is said anew with the next event
        return refused


class Wire:
    """Sends the events of all attempts of this process: at once when idle, and what piled up meanwhile when busy.

    One pipeline is under way at a time. While Redis is away events wait, and deltas melt together. No timer holds words
    back. One event may wait, the beginning of an attempt: it says nothing that a person reads, and sent by itself it
    takes the core from the claim, the load and the request that the first words wait for (docs/decisions/0007).
    """

    def __init__(self, redis: "redis_asyncio.Redis") -> None:
        self._redis = redis
        self._dirty: dict[Writer, None] = {}
        self._soon: dict[Writer, asyncio.TimerHandle] = {}  # those who have only begun
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.create_task(self._send_for_ever(), name="wire")

    def writer(self, job_id: UUID, attempt: int) -> Writer:
        return Writer(self, job_id, attempt)

    def wake_soon(self, writer: Writer) -> None:
        self._idle.clear()
        self._soon[writer] = asyncio.get_running_loop().call_later(BEGIN_SECONDS, self.wake, writer)

    def wake(self, writer: Writer) -> None:
        if (timer := self._soon.pop(writer, None)) is not None:
            timer.cancel()
        self._dirty[writer] = None
        self._idle.clear()
        self._work.set()

    async def close(self, *, patience: float = 2) -> None:
        """Send what waits, for at most `patience` seconds; the rows have it all anyway."""
        for writer in list(self._soon):
            self.wake(writer)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _send_for_ever(self) -> None:
        pause = 0.1
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._dirty = list(self._dirty), {}
            try:
                await self._send(batch)
                pause = 0.1
            except (RedisError, OSError) as error:
                log(__name__).warning("wire_down", runs=len(batch), error=type(error).__name__)
                self._dirty = dict.fromkeys(batch) | self._dirty
                self._work.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            except Exception:  # a fault of ours in one run must not silence the others; the rows have it all
                log(__name__).exception("wire_crashed", runs=len(batch))
            if not (self._dirty or self._soon):
                self._idle.set()

    async def _send(self, batch: Iterable[Writer]) -> None:
        sent: list[tuple[Writer, int]] = []
        pipe = self._redis.pipeline(transaction=False)
        for writer in batch:
            if events := writer.take():
                for one in events:
                    _add(pipe, writer.job_id, one, create=one.type in RESETS or one.ends)
                pipe.expire(key(writer.job_id), LIFE_ENDED if events[-1].ends else LIFE_RUNNING)
                sent.append((writer, len(events)))
        if not sent:
            return
        replies = await pipe.execute(raise_on_error=False)
        if away := next((reply for reply in replies if isinstance(reply, RedisConnectionError)), None):
            raise away  # it starts, and has not yet read its data
        at = 0
        for writer, count in sent:
            if writer.answered(replies[at : at + 2 * count : 2]):
                await self._look(writer)
            at += 2 * count + 1

    async def _look(self, writer: Writer) -> None:
        """An id was refused: either it was written and only the answer was lost, or another attempt has gone on."""
        newest: Any = await self._redis.xrevrange(key(writer.job_id), count=1)
        if newest and parse_id(newest[0][0].decode())[0] > writer.attempt:
            writer.fenced = True
