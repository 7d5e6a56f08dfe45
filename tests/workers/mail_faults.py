"""A worker that dies by SIGKILL at a numbered step of sending a mail: `celery -A tests.workers.mail_faults worker`.

CLOFY_TEST_FAULTS names the step for each delivery, as {"<id>": 3}; only the first attempt of a job is struck. It runs
what the product runs, one mail at a time; each step is met by wrapping the function that it begins or ends with.

1 the job is claimed                             5 the server has said yes to the dot
2 the mail is read                               6 `sent` is committed, the job goes on
3 the server has the text, nothing is written    7 the job is ended, Celery has not acknowledged
4 `sending` is committed, the dot is not sent
"""

import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from core import claims
from core.claims import Claimed
from core.mail import deliveries, smtp
from workers import process, runtime
from workers.app import app  # noqa: F401  # what Celery looks for
from workers.lanes import Lane

FAULTS: dict[str, int] = json.loads(os.environ["CLOFY_TEST_FAULTS"])


class _Job:
    step: int | None = None  # at which the one that runs is to die


def _die(step: int | None) -> None:
    if step is not None and _Job.step == step:
        os.kill(os.getpid(), signal.SIGKILL)


def _mark(claimed: Claimed | None) -> None:
    mail = claimed.payload.get("delivery_id", "") if claimed is not None and claimed.attempts == 1 else ""
    _Job.step = FAULTS.get(mail)


def _around(
    owner: Any,
    name: str,
    *,
    before: int | None = None,
    after: int | None = None,
    only: tuple[object, ...] | None = None,
) -> None:
    """only: the arguments, without `self`, with which it counts"""
    whole: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = only is None or args[1:] == only
        _die(before if counts else None)
        answer = await whole(*args, **kwargs)
        if name == "claim":
            _mark(answer)
        _die(after if counts else None)
        return answer

    setattr(owner, name, wrapped)


class _Single(Lane):
    """One mail at a time: a death strikes no other."""

    def __init__(self, _most: int, **how: Any) -> None:
        super().__init__(1, **how)


product: Any = process
product.Lane = _Single
vendor: Any = smtp
_around(claims, "claim", after=1)
_around(deliveries, "get_outgoing", after=2)
_around(deliveries, "mark_sending", before=3)
_around(vendor.SMTP, "execute_command", before=4, after=5, only=(b".",))
_around(claims, "finish", before=6)
_around(runtime, "_try", after=7)
