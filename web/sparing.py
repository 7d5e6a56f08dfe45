"""Log lines that anybody can have written without end: one a minute for each cause, with how many it stands for."""

import time
from collections import OrderedDict
from collections.abc import Hashable

EVERY = 60.0  # seconds
MOST = 1000  # causes that are remembered, the latest


class Sparing:
    def __init__(self) -> None:
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # when, and how many since

    def times(self, cause: Hashable, *, now: float | None = None) -> int:
        """How many times a line written now stands for; 0: write none."""
        now = time.monotonic() if now is None else now
        since, left_out = self._told.get(cause, (now - EVERY, 0))
        if now - since < EVERY:
            self._told[cause] = since, left_out + 1
            return 0
        self._told[cause] = now, 0
        self._told.move_to_end(cause)
        if len(self._told) > MOST:
            self._told.popitem(last=False)
        return left_out + 1
