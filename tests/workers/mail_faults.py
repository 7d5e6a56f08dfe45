"""A worker that dies by SIGKILL at a numbered step of sending a mail: `celery -A tests.workers.mail_faults worker`.

The step is named for each delivery, by its id (striking.py). One mail goes at a time.

1 the job is claimed                             5 the server has said yes to the dot
2 the mail is read                               6 `sent` is committed, the job goes on
3 the server has the text, nothing is written    7 the job is ended, Celery has not acknowledged
4 `sending` is committed, the dot is not sent
"""

from typing import Any

from core import claims
from core.mail import deliveries, smtp
from tests.workers.striking import around, claimed
from workers import process, runtime
from workers.app import app  # noqa: F401  # what Celery looks for
from workers.lanes import Lane


class _Single(Lane):
    """One mail at a time: a death strikes no other."""

    def __init__(self, _most: int, **how: Any) -> None:
        super().__init__(1, **how)


product: Any = process
product.Lane = _Single
vendor: Any = smtp
claimed("delivery_id")
around(deliveries, "get_outgoing", after=2)
around(deliveries, "mark_sending", before=3)
around(vendor.SMTP, "execute_command", before=4, after=5, only=(b".",))
around(claims, "finish", before=6)
around(runtime, "_try", after=7)
