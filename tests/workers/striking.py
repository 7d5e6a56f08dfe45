"""How a worker of tests dies by SIGKILL at a numbered step: faults.py, erasure_faults.py, mail_faults.py say where.

CLOFY_TEST_FAULTS names the step for each object, as {"<id>": 3}; only the first attempt of a job is struck. Such a
worker runs what the product runs; each step is met by wrapping the function that it begins or ends with.
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from core import claims
from core.claims import Claimed

FAULTS: dict[str, int] = json.loads(os.environ["CLOFY_TEST_FAULTS"])


# At which step the attempt is to die that runs here. Each has a task of its own: one beside it is not struck for it.
_step: ContextVar[int | None] = ContextVar("step", default=None)


def _die(step: int | None) -> None:
    if step is not None and _step.get() == step:
        os.kill(os.getpid(), signal.SIGKILL)


def claimed(fact: str) -> None:
    """Step 1: a job is claimed. fact: of its payload, by which FAULTS names its object"""
    whole = claims.claim

    async def claim(*args: Any, **kwargs: Any) -> Claimed | None:
        job = await whole(*args, **kwargs)
        is_first = job is not None and job.attempts == 1
        _step.set(FAULTS.get(job.payload.get(fact, "")) if job is not None and is_first else None)
        _die(1)
        return job

    product: Any = claims
    product.claim = claim


def around(
    owner: Any,
    name: str,
    *,
    before: int | None = None,
    after: int | None = None,
    only: tuple[object, ...] | None = None,
) -> None:
    """Steps before and after a function. only: the arguments, without `self`, with which it counts"""
    whole: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = only is None or args[1:] == only
        _die(before if counts else None)
        answer = await whole(*args, **kwargs)
        _die(after if counts else None)
        return answer

    setattr(owner, name, wrapped)
