"""First words before last lines: in what order the answers of one process take their turns."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

MOST_ENDINGS = 8  # at once, of the connections that a process has
A_LONG_LINE = 16  # for each of so many that wait to end, one more may, so that a storm of endings does not stand


class Turns:
    """While somebody waits for the first word of an answer, the endings of others go one at a time.

    Both share a core. A person feels the wait for the first word, and not when the receipt comes; served in the order
    of their arrival, sixteen at once waited 118 ms for it, so about 50 (docs/decisions/0007). One ending always goes
    on, and more of them when many wait.
    """

    def __init__(self) -> None:
        self._beginning = 0
        self._ending = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @contextmanager
    def beginning(self) -> Iterator[Callable[[], None]]:
        """An answer that has no word yet; call what this gives when the first one is there."""
        self._beginning += 1
        begun = False

        def began() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self._beginning -= 1
                self._admit()

        try:
            yield began
        finally:
            began()

    @asynccontextmanager
    async def ending(self) -> AsyncIterator[None]:
        """The end of an answer, in its turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._ending -= 1
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._ending < self._allowed():
            turn = self._waiting.popleft()
            if not turn.done():  # else who waited was cancelled
                self._ending += 1
                turn.set_result(None)

    def _allowed(self) -> int:
        return min(1 + len(self._waiting) // A_LONG_LINE, MOST_ENDINGS) if self._beginning else MOST_ENDINGS
