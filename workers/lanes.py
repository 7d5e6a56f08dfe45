"""Paper waits in lanes: receipts and mails hold no slot of Celery's while they wait, and go so many at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

from core.telemetry import log

Work = Callable[[], Coroutine[Any, Any, None]]
MOST_WAITING = 10_000  # some 4 MB of the process


class Lane:
    """Jobs of one kind, in the order of their messages. Who waits here holds a job's id, and nothing else.

    Celery has acknowledged their messages: what a killed process forgets, the sweep rings again (core/claims.py).

    most: so many at once
    room: so many may wait; who comes then is sent away, and the sweep rings it again too, its row being queued still
    behind: while it says yes, one at a time
    """

    def __init__(self, most: int, *, room: int = MOST_WAITING, behind: Callable[[], bool] = lambda: False) -> None:
        self._most, self._room, self._behind = most, room, behind
        self._waiting: dict[UUID, Work] = {}  # a job that is rung again while it waits still waits once
        self._going: set[asyncio.Task[None]] = set()

    def join(self, job_id: UUID, work: Work) -> None:
        if len(self._waiting) < self._room:
            self._waiting.setdefault(job_id, work)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and len(self._going) < (1 if self._behind() else self._most):
            work = self._waiting.pop(next(iter(self._waiting)))
            task = asyncio.get_running_loop().create_task(self._go(work))
            self._going.add(task)
            task.add_done_callback(self._went)

    async def _go(self, work: Work) -> None:
        try:
            await work()
        except Exception:  # the job was not even claimed: the sweep rings it again
            log(__name__).exception("lane_crashed")

    def _went(self, task: asyncio.Task[None]) -> None:
        self._going.discard(task)
        self._admit()

    async def settle(self, *, patience: float) -> None:
        """Wait for those that go, for at most `patience` seconds."""
        if self._going:
            await asyncio.wait(self._going, timeout=patience)

    def clear(self) -> list[UUID]:
        """Let nobody wait here any more. Returns who did, for others to be told."""
        left, self._waiting = list(self._waiting), {}
        return left
