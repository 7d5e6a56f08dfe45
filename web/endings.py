"""What hangs on a session: each socket has itself looked at again as soon as its session may have ended."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from core import endings
from web.hub import end_all

Look = Callable[[], None]

_held: dict[UUID, set[Look]] = {}
_tasks: list[asyncio.Task[None]] = []


@contextmanager
def held(session_id: UUID, look: Look) -> Iterator[None]:
    """While this lasts, `look` is called when the session may have ended. It must neither block nor raise."""
    looks = _held.setdefault(session_id, set())
    looks.add(look)
    try:
        yield
    finally:
        looks.discard(look)
        if not looks and _held.get(session_id) is looks:
            del _held[session_id]


def _ended(session_id: UUID) -> None:
    for look in list(_held.get(session_id, ())):
        look()


def _missed() -> None:
    for session_id in list(_held):
        _ended(session_id)


async def start() -> None:
    _tasks.append(asyncio.get_running_loop().create_task(endings.follow(_ended, _missed), name="endings"))


async def stop() -> None:
    await end_all(_tasks)
    _tasks.clear()
