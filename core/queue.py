"""The doorbell: names of tasks and queues, and the Celery producer. The only file of core that knows Celery."""

from dataclasses import dataclass
from enum import StrEnum


class Queue(StrEnum):
    """Each is consumed by a worker group in docker-compose.yml and in the sandbox."""

    AI = "ai"
    MAIL = "mail"
    BILLING = "billing"
    MEDIA = "media"
    UPKEEP = "upkeep"


class TaskName(StrEnum):
    ANSWER = "consultations.answer"
    SEND_MAIL = "mail.send"
    HANDLE_STRIPE_EVENT = "billing.handle_stripe_event"
    CREDIT_PURCHASE = "billing.credit_purchase"
    UPKEEP = "upkeep.run"


@dataclass(frozen=True)
class Policy:
    """How a task's jobs are queued and tried again; copied into each job's row, so that it can be changed there.

    attempts: how often it may be claimed, first time included
    backoff: seconds before the second attempt; doubles with each further one
    backoff_cap: seconds, the longest wait
    """

    queue: Queue
    attempts: int
    backoff: float
    backoff_cap: float = 3600


POLICIES: dict[TaskName, Policy] = {
    TaskName.ANSWER: Policy(Queue.AI, attempts=4, backoff=1, backoff_cap=20),
    TaskName.SEND_MAIL: Policy(Queue.MAIL, attempts=12, backoff=5, backoff_cap=1800),
    TaskName.HANDLE_STRIPE_EVENT: Policy(Queue.BILLING, attempts=12, backoff=2, backoff_cap=3600),
    TaskName.CREDIT_PURCHASE: Policy(Queue.BILLING, attempts=12, backoff=2, backoff_cap=3600),
    TaskName.UPKEEP: Policy(Queue.UPKEEP, attempts=3, backoff=10),
}
