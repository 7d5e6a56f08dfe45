"""A worker's process as far as an attempt needs one, on the loop of the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self, cast
from uuid import UUID

from redis.asyncio import Redis
from sqlalchemy import text

from core import streams
from core.database import transaction
from core.queue import TaskName

_DUE = """
    update jobs set available_at = now(), lease_until = case state when 'running' then now() - interval '1 s' end
    where task = :task and state in ('queued', 'running') and attempts < max_attempts and key = any(:keys)
    returning id
"""


@dataclass
class Here:
    redis: Redis
    wire: streams.Wire
    runs: dict[UUID, Any] = field(default_factory=dict)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """One whose events reach Redis; what its tasks want closed at the end is, then."""
        redis = streams.connect()
        here = cls(redis, streams.Wire(redis))
        yield here
        await here.wire.close()
        await redis.aclose()
        for close in here.closers:
            await close()

    def close_at_end(self, closer: Callable[[], Awaitable[None]]) -> None:
        if closer not in self.closers:
            self.closers.append(closer)

    async def attempt(self, name: TaskName, job_id: UUID) -> None:
        """Claim a job and try it once, by its real task."""
        from workers import runtime  # its Celery application reads the settings that `house` has set

        await runtime.attempt(cast("Any", self), runtime.TASKS[name], job_id)

    async def work_off(self, name: TaskName, keys: list[str]) -> None:
        """Try the jobs of these keys until none is left: back-offs, and leases of the dead, are over at once."""
        asked = {"task": name, "keys": keys}
        for _ in range(20):
            async with transaction() as session:
                due = list(await session.scalars(text(_DUE), asked))
            if not due:
                return
            for job_id in due:
                await self.attempt(name, job_id)
        raise AssertionError(f"{name} is not done after 20 attempts")
