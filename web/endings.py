"""What hangs on a session or an account: each socket looks again as soon as one has ended, or the other has news."""

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
def held(whose: UUID, look: Look) -> Iterator[None]:
    """While this lasts, `look` is called when the session may have ended, or the notices of the account changed.

    It must neither block nor raise.
    """
    looks = _held.setdefault(whose, set())
    looks.add(look)
    try:
        yield
    finally:
        looks.discard(look)
        if not looks and _held.get(whose) is looks:
            del _held[whose]


def _told(whose: UUID) -> None:
    for look in list(_held.get(whose, ())):
        look()


def _missed() -> None:
    for whose in list(_held):
        _told(whose)


async def start() -> None:
    _tasks.append(asyncio.get_running_loop().create_task(endings.follow(_told, _missed), name="endings"))


async def stop() -> None:
    await end_all(_tasks)
    _tasks.clear()
