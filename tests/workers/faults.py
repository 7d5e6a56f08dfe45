"""A worker that dies by SIGKILL at a numbered step of handling an event: `celery -A tests.workers.faults worker -c 1`.

The step is named for each event, as {"evt_...": 3} (striking.py).

1 the job is claimed                        6 all of that is written, the event is not marked
2 Stripe is about to be asked               7 the event is marked
3 Stripe has answered                       8 the job is ended, nothing is committed
4 the credits are granted, not committed    9 all is committed, Celery has not acknowledged
5 the receipt is asked for
"""

from core import claims
from core.billing import receipts, stripe_events, taking_up
from core.credits import ledger
from tests.workers.striking import around, claimed
from workers import runtime
from workers.app import app  # noqa: F401  # what Celery looks for

claimed("event_id")
around(taking_up, "ask_stripe", before=2, after=3)
around(ledger, "grant", after=4)
around(receipts, "issue_later", after=5)
around(stripe_events, "mark_handled", before=6, after=7)
around(claims, "finish", after=8)
around(runtime, "_try", after=9)
