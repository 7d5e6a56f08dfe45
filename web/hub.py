"""From Redis to browsers: one subscriber connection for each web process, whatever the number of its sockets.

A watch subscribes first, then reads the stream, then goes live; the ids (core/streams.py) tell what is doubled and
what is missing. Nothing here waits for a browser: each has a bounded outbox, and one that does not read loses itself.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy import select

from core import jobs, streams
from core.database import statement
from core.jobs import Glimpse, Job
from core.streams import Event, EventId
from core.telemetry import log

ASK_ROWS_SECONDS = 5.0  # how late a watcher learns of an end when Redis told nothing
PATIENCE = 10.0  # seconds to wait for a message before the connection's health is looked at
OPEN_CHANNEL = "hub"  # nothing is said there; it keeps the subscriber's connection open while nothing is watched
SILENCE = 3.0  # seconds without an event, after which a job's row is asked


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: a Redis client that is just connecting may take one for its own time-out."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=0.2)
        await asyncio.gather(*ended, return_exceptions=True)  # what they raised has been seen


Deliver = Callable[["Watch", Event], None]


@dataclass(eq=False)
class Watch:
    """One reader of one job. `deliver` must not block; it is called in order, once for each event."""

    job_id: UUID
    last: EventId
    deliver: Deliver
    ended: bool = False
    live: bool = False  # until then what comes is left to the read of the stream
    stale: bool = False  # something came during that read

    def offer(self, event: Event) -> bool:
        """Deliver an event unless it was; returns False when something before it is missing."""
        if self.ended or event.id <= self.last:
            return True
        if not streams.follows(self.last, event):
            return False
        self.last, self.ended = event.id, event.ends
        self.deliver(self, event)
        return True


class Hub:
    def __init__(self) -> None:
        self.redis = streams.connect()
        self._pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
        self._watches: dict[UUID, set[Watch]] = {}
        self._heard: dict[UUID, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._catching_up: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._listen(), name="hub"), loop.create_task(self._ask_rows(), name="rows")]

    async def close(self) -> None:
        await end_all({*self._tasks, *self._catching_up})
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self.redis.aclose()

    async def watch(self, job: Glimpse, after: EventId, deliver: Deliver) -> Watch:
        """Follow a job from an id on; `job` is as just read."""
        watch = Watch(job.id, after, deliver)
        first = job.id not in self._watches
        self._watches.setdefault(job.id, set()).add(watch)
        if first:
            self._heard[job.id] = asyncio.get_running_loop().time()
        try:
            await self._let_in(watch, job, first=first)
        except BaseException:  # who was cancelled here never gets the watch, so cannot give it back
            await self.unwatch(watch)
            raise
        return watch

    async def _let_in(self, watch: Watch, job: Glimpse, *, first: bool) -> None:
        if first:
            with suppress(RedisError, OSError):  # the listener subscribes again when Redis is back
                await self._pubsub.subscribe(streams.key(job.id))
        if watch.last < streams.QUEUED:
            watch.offer(streams.event(streams.QUEUED, "queued", {}))
        await self._catch_up(watch)
        if job.state in jobs.ENDED:
            watch.offer(streams.end_event(*jobs.end_of(job)))
            watch.ended = True  # also for a reader who had the end before

    async def unwatch(self, watch: Watch) -> None:
        """Stop following; the last reader of a job ends the subscription."""
        watch.ended = True
        watches = self._watches.get(watch.job_id, set())
        watches.discard(watch)
        if not watches and self._watches.pop(watch.job_id, None) is not None:
            self._heard.pop(watch.job_id, None)
            with suppress(RedisError, OSError):
                await self._pubsub.unsubscribe(streams.key(watch.job_id))

    async def _catch_up(self, watch: Watch) -> None:
        """Read what the stream has after the watch's last event, until nothing came meanwhile; then it is live."""
        watch.live = False
        try:
            while True:
                watch.stale = False
                for event in await streams.read(self.redis, watch.job_id, watch.last):
                    if not watch.offer(event):
                        break  # Redis forgot what was between; the worker says all of it again
                if not watch.stale:
                    break
        except (RedisError, OSError) as failure:
            log(__name__).warning("stream_unread", error=type(failure).__name__)
        finally:
            watch.live = True

    def _hear(self, job_id: UUID, event: Event) -> None:
        self._heard[job_id] = asyncio.get_running_loop().time()
        for watch in list(self._watches.get(job_id, ())):
            if not watch.live:
                watch.stale = True
            elif not watch.offer(event):
                self._catch_up_soon(watch)

    def _catch_up_soon(self, watch: Watch) -> None:
        task = asyncio.get_running_loop().create_task(self._catch_up(watch))
        self._catching_up.add(task)
        task.add_done_callback(self._catching_up.discard)

    async def _listen(self) -> None:
        pause, connected = 0.1, False
        while True:
            try:
                if not connected:
                    await self._connect()
                    connected, pause = True, 0.1
                message = await self._pubsub.get_message(timeout=PATIENCE)
            except Exception as failure:  # Redis is away, or its client in a state of its own: begin anew
                log(__name__).warning("hub_down", error=type(failure).__name__)
                connected = False
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            if message is not None:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        try:
            self._hear(UUID(message["channel"].decode().removeprefix("run:")), streams.decode(message["data"]))
        except Exception:  # one message that nobody can read must not end the others'
            log(__name__).exception("event_unreadable")

    async def _connect(self) -> None:
        """At the start, and when Redis was away: subscribe to all that is watched, then read what was missed."""
        with suppress(RedisError, OSError):
            await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        self._pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
        await self._pubsub.subscribe(OPEN_CHANNEL, *[streams.key(job_id) for job_id in self._watches])
        for watches in list(self._watches.values()):
            for watch in list(watches):
                self._catch_up_soon(watch)

    async def _ask_rows(self) -> None:
        """Where Redis has been silent, ask PostgreSQL, for all watched jobs at once, which of them have ended."""
        while True:
            await asyncio.sleep(ASK_ROWS_SECONDS)
            now = asyncio.get_running_loop().time()
            silent = [job_id for job_id in self._watches if now - self._heard.get(job_id, 0.0) > SILENCE]
            if not silent:
                continue
            columns = select(Job.id, Job.attempts, Job.state, Job.result, Job.error).where(
                Job.id.in_(silent), Job.state.in_(jobs.ENDED)
            )
            try:
                async with statement() as connection:
                    rows = (await connection.execute(columns)).all()
            except Exception as failure:  # away, or starting: SQLAlchemy's errors, asyncpg's own, the system's
                log(__name__).warning("rows_unread", error=type(failure).__name__)
                continue
            for job_id, attempts, state, result, error in rows:
                end = streams.end_event(attempts, state, {"result": result, "reason": error})
                for watch in list(self._watches.get(job_id, ())):
                    await self._catch_up(watch)
                    watch.offer(end)
