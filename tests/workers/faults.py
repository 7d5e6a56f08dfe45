"""A worker that dies by SIGKILL at a numbered step of handling an event: `celery -A tests.workers.faults worker -c 1`.

CLOFY_TEST_FAULTS names the step for each event, as {"evt_...": 3}; only the first attempt of a job is struck. It runs
what the product runs; each step is met by wrapping the function that it begins or ends with.

1 the job is claimed                        6 all of that is written, the event is not marked
2 Stripe is about to be asked               7 the event is marked
3 Stripe has answered                       8 the job is ended, nothing is committed
4 the credits are granted, not committed    9 all is committed, Celery has not acknowledged
5 the receipt is asked for
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from core import claims
from core.billing import receipts, stripe_events, taking_up
from core.claims import Claimed
from core.credits import ledger
from workers import runtime
from workers.app import app  # noqa: F401  # what Celery looks for

FAULTS: dict[str, int] = json.loads(os.environ["CLOFY_TEST_FAULTS"])


class _Job:
    step: int | None = None  # at which the one that runs is to die


def _die(step: int) -> None:
    if _Job.step == step:
        os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, *, before: int | None = None, after: int | None = None) -> None:
    whole: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            _die(before)
        answer = await whole(*args, **kwargs)
        if name == "claim":
            _mark(answer)
        if after is not None:
            _die(after)
        return answer

    setattr(owner, name, wrapped)


def _mark(claimed: Claimed | None) -> None:
    event_id = claimed.payload.get("event_id", "") if claimed is not None and claimed.attempts == 1 else ""
    _Job.step = FAULTS.get(event_id)


_around(claims, "claim", after=1)
_around(taking_up, "ask_stripe", before=2, after=3)
_around(ledger, "grant", after=4)
_around(receipts, "issue_later", after=5)
_around(stripe_events, "mark_handled", before=6, after=7)
_around(claims, "finish", after=8)
_around(runtime, "_try", after=9)
