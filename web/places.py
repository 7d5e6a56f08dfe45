"""How many sockets may be open at once in this process: of all, from one address, of one account."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MOST = 5000  # idle ones take about 155 MiB (docs/scaling.md: 31 for 1,000)
MOST_OF_ADDRESS = 300  # an office behind one address
MOST_OF_ACCOUNT = 20  # somebody with many tabs, on each web process

_taken: Counter[str] = Counter()


class Full(Exception):
    """As many are open as may be."""


@contextmanager
def place(whose: str, most: int) -> Iterator[None]:
    """Hold a place while this lasts. Raises Full, at once."""
    if _taken[whose] >= most:
        raise Full(whose.partition(":")[0])
    _taken[whose] += 1
    try:
        yield
    finally:
        _taken[whose] -= 1
        if not _taken[whose]:
            del _taken[whose]


@contextmanager
def for_caller(network: str) -> Iterator[None]:
    """Of the process, and of whoever asks from there; asked before anything else. Raises Full."""
    with place("process", MOST):
        if not network:
            yield
            return
        with place(f"address:{network}", MOST_OF_ADDRESS):
            yield
