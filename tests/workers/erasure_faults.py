"""A worker that dies by SIGKILL at a numbered step of an erasure: `celery -A tests.workers.erasure_faults worker -c 1`.

CLOFY_TEST_FAULTS names the step for each erasure, by its id; only the first attempt of a job is struck.

1 the job is claimed                          6 the journal is written
2 the account is shut, not committed          7 the rows are erased, not committed
3 it is committed                             8 the proof is mailed, not committed
4 the open checkout is expired at Stripe      9 the job is ended, nothing is committed
5 blobs and streams are gone                  10 all is committed, Celery has not acknowledged
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from core import claims, streams
from core.billing import stripe_api
from core.claims import Claimed
from core.privacy import erasure_steps, journal
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
    erasure_id = claimed.payload.get("erasure_id", "") if claimed is not None and claimed.attempts == 1 else ""
    _Job.step = FAULTS.get(erasure_id)


_around(claims, "claim", after=1)
_around(erasure_steps, "start", after=2)
_around(erasure_steps, "until_nothing_runs", before=3)
_around(stripe_api, "expire_session", after=4)
_around(streams, "forget", after=5)
_around(journal, "enter", after=6)
_around(erasure_steps, "erase_rows", after=7)
_around(erasure_steps, "finish", after=8)
_around(claims, "finish", after=9)
_around(runtime, "_try", after=10)
