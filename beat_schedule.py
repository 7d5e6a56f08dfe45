"""When, in UTC; names of tasks only. A tick writes one job for its slot: a second beat changes nothing.

Nothing here is needed for jobs to be done: the workers' own sweep (workers/process.py) rings what was lost.
"""

from typing import Any

from core.queue import POLICIES, TICK, TaskName


def every(seconds: int, name: TaskName) -> dict[str, Any]:
    """A tick each `seconds`; one that is not taken before the next is due is dropped."""
    options = {"queue": POLICIES[name].queue, "expires": seconds}
    return {"task": name, "schedule": seconds, "args": [f"{TICK}{seconds}"], "options": options}


BEAT_SCHEDULE = {
    TaskName.RECONCILE: every(3600, TaskName.RECONCILE),
    TaskName.SWEEP_MEDIA: every(3600, TaskName.SWEEP_MEDIA),
    TaskName.TELL_POLICIES: every(60, TaskName.TELL_POLICIES),
    TaskName.CHECK_POLICIES: every(3600, TaskName.CHECK_POLICIES),
    TaskName.EXPIRE_HOLDS: every(60, TaskName.EXPIRE_HOLDS),
    TaskName.PREPARE_PARTITIONS: every(3600, TaskName.PREPARE_PARTITIONS),
    TaskName.PURGE: every(3600, TaskName.PURGE),
    TaskName.ARCHIVE: every(3600, TaskName.ARCHIVE),
    TaskName.SNAPSHOT: every(3600, TaskName.SNAPSHOT),
    TaskName.DRILL: every(3600, TaskName.DRILL),
    TaskName.RENDER_ANEW: every(3600, TaskName.RENDER_ANEW),
    TaskName.LOST_FACTORS: every(3600, TaskName.LOST_FACTORS),
    TaskName.CHECK_LEDGER: every(3600, TaskName.CHECK_LEDGER),
    TaskName.RESEAL: every(3600, TaskName.RESEAL),
    TaskName.ERASURES: every(3600, TaskName.ERASURES),
    TaskName.REMIND: every(3600, TaskName.REMIND),
    TaskName.LOW_BALANCE: every(600, TaskName.LOW_BALANCE),
}
