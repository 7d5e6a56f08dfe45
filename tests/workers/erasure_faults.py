"""A worker that dies by SIGKILL at a numbered step of an erasure: `celery -A tests.workers.erasure_faults worker -c 1`.

The step is named for each erasure, by its id (striking.py).

1 the job is claimed                          6 the journal is written
2 the account is shut, not committed          7 the rows are erased, not committed
3 it is committed                             8 the proof is mailed, not committed
4 the open checkout is expired at Stripe      9 the job is ended, nothing is committed
5 blobs and streams are gone                  10 all is committed, Celery has not acknowledged
"""

from core import claims, streams
from core.billing import stripe_api
from core.privacy import erasure_steps, journal
from tests.workers.striking import around, claimed
from workers import runtime
from workers.app import app  # noqa: F401  # what Celery looks for

claimed("erasure_id")
around(erasure_steps, "start", after=2)
around(erasure_steps, "until_nothing_runs", before=3)
around(stripe_api, "expire_session", after=4)
around(streams, "forget", after=5)
around(journal, "enter", after=6)
around(erasure_steps, "erase_rows", after=7)
around(erasure_steps, "finish", after=8)
around(claims, "finish", after=9)
around(runtime, "_try", after=10)
