"""What one worker process has one of: a loop in a thread, an engine, a wire, and the keeper of its jobs."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import uvloop
from sqlalchemy.exc import SQLAlchemyError

from core import claims, jobs, queue, secrets, streams
from core.direct import close_connections
from core.jobs import Job
from core.queue import TaskName, close_doorbell
from core.telemetry import log
from workers.lanes import Lane
from workers.turns import Turns

if TYPE_CHECKING:
    from workers.runtime import Run

SWITCH_SECONDS = 0.0005  # Python's own 5 ms is what each hand-over between Celery's threads and the loop waited
SWEEP_SECONDS = 1.0  # how late a lost doorbell, a back-off that ended, or an abandoned job may be noticed
# What was paid comes before paper. Receipts wait for each other anyway, for their numbers have no gaps; mails wait for
# a mail server, which may be slow, and must not take all slots of the worker meanwhile.
RECEIPTS_AT_ONCE, MAILS_AT_ONCE = 4, 16
EXPORTS_AT_ONCE = 2  # each takes a connection and a processor for as long as it lasts
MONEY = frozenset({TaskName.HANDLE_STRIPE_EVENT, TaskName.CREDIT_PURCHASE})
T = TypeVar("T")


class Process:
    """Made at the first task of a process, after any fork; everything of it lives on its loop."""

    def __init__(self) -> None:
        self.runs: dict[UUID, Run] = {}  # by claim
        self.draining = False
        self.turns = Turns()
        self.lanes = {
            TaskName.ISSUE_RECEIPT: Lane(RECEIPTS_AT_ONCE, behind=self._money_moves),
            TaskName.SEND_MAIL: Lane(MAILS_AT_ONCE),
            TaskName.EXPORT: Lane(EXPORTS_AT_ONCE),
        }
        alive = os.environ.get("CLOFY_ALIVE_FILE")  # for the health check of the container
        self._alive_file = Path(alive) if alive else None
        self._closers: dict[Callable[[], Coroutine[Any, Any, None]], None] = {}
        sys.setswitchinterval(SWITCH_SECONDS)
        self.loop = uvloop.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._turn, name="loop", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _turn(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._open)
        self.loop.run_forever()

    def _open(self) -> None:
        self.redis = streams.connect()
        self.wire = streams.Wire(self.redis)
        self._keepers = [
            self.loop.create_task(self._for_ever("heartbeat", claims.HEARTBEAT.total_seconds(), self._heartbeat)),
            self.loop.create_task(self._for_ever("sweep", SWEEP_SECONDS, self._sweep)),
            self.loop.create_task(self._for_ever("secrets", 60, secrets.refresh_if_due)),
            self.loop.create_task(self._hear_stops()),
        ]
        self._ready.set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop, from a pool's thread, and wait for the end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def _money_moves(self) -> bool:
        return any(run.job.task in MONEY for run in self.runs.values())

    async def _for_ever(self, name: str, seconds: float, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await step()
            except (SQLAlchemyError, OSError, TimeoutError) as error:  # PostgreSQL is away: the next turn tries again
                log(__name__).warning("keeper_failed", step=name, error=type(error).__name__)
            except Exception:  # whatever it is, the other jobs still need their heartbeats and sweeps
                log(__name__).exception("keeper_crashed", step=name)
            await asyncio.sleep(seconds)

    async def _heartbeat(self) -> None:
        if self._alive_file is not None:
            self._alive_file.touch()
        running = list(self.runs.values())
        if not running:
            return
        ours = await claims.heartbeat(run.job for run in running)
        for run in running:
            if run.job.claim not in self.runs:
                continue
            if run.job.id not in ours:
                run.interrupt("lost")
            elif ours[run.job.id]:
                run.interrupt("stop")

    async def _sweep(self) -> None:
        for job in await claims.take_back_abandoned():
            await self.tell_end(job)
        while not self.draining and await claims.ring_due() >= 200:
            pass

    async def tell_end(self, job: Job) -> None:
        await streams.tell_end(self.redis, job.id, streams.end_event(*jobs.end_of(job)))

    async def _hear_stops(self) -> None:
        """Stop runs whose owners asked for it, within milliseconds; while Redis is away the heartbeat tells."""
        while True:
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(streams.STOP_CHANNEL)
                    while True:
                        if (message := await channel.get_message(timeout=10)) is not None:
                            self._stop(message["data"].decode())
            except Exception as error:  # Redis is away, or its client in a state of its own: begin anew
                log(__name__).warning("keeper_failed", step="stops", error=type(error).__name__)
                await asyncio.sleep(1)

    def _stop(self, job_id: str) -> None:
        for run in list(self.runs.values()):
            if str(run.job.id) == job_id:
                run.interrupt("stop")

    def close_at_end(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have a vendor's client closed when this process ends."""
        self._closers[closer] = None

    def drain(self, patience: float) -> None:
        """From any thread: let what runs finish for `patience` seconds, then give it back for another worker."""
        self.draining = True
        self.loop.call_soon_threadsafe(self.loop.call_later, patience, self._hand_over_all)

    def _hand_over_all(self) -> None:
        for run in list(self.runs.values()):
            run.interrupt("drain")

    def close(self) -> None:
        """From another thread, once no task runs: send what the wire still holds, and close all connections."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(timeout=8)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=2)

    async def _close(self) -> None:
        await self._empty_lanes()
        for keeper in self._keepers:
            keeper.cancel()
        await self.wire.close()
        for close in self._closers:
            await close()
        await self.redis.aclose()
        await close_doorbell()
        await close_connections()

    async def _empty_lanes(self) -> None:
        """Celery has waited for its own tasks; see to those that it does not know of."""
        queue.ring([(name, job_id) for name, lane in self.lanes.items() for job_id in lane.clear()])
        for lane in self.lanes.values():
            await lane.settle(patience=1)
        self._hand_over_all()
        for lane in self.lanes.values():
            await lane.settle(patience=1)


_making = threading.Lock()
_made: list[Process] = []


def process() -> Process:
    """This process's own, made at the first call; never called before a fork."""
    with _making:
        if not _made:
            _made.append(Process())
        return _made[0]


def has_process() -> bool:
    return bool(_made)
