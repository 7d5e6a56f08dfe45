"""The doorbell: names of tasks and queues, Celery's application, how a job is rung. All that core knows of Celery."""

import asyncio
import base64
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from uuid import UUID, uuid4

import orjson
from celery import Celery
from kombu.entity import Queue as KombuQueue
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from core.settings import settings
from core.telemetry import log


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
    ANNOUNCE = "letters.announce"
    LOW_BALANCE = "letters.low_balance"
    HANDLE_STRIPE_EVENT = "billing.handle_stripe_event"
    CREDIT_PURCHASE = "billing.credit_purchase"
    ISSUE_RECEIPT = "billing.issue_receipt"
    ISSUE_REFUND = "billing.issue_refund"
    RECONCILE = "billing.reconcile"
    PUBLISH_POST = "blog.publish"
    RENDER_ANEW = "blog.render_anew"
    TELL_POLICIES = "privacy.tell_policies"
    CHECK_POLICIES = "privacy.check_policies"
    PROCESS_MEDIA = "media.process"
    SWEEP_MEDIA = "media.sweep"
    EXPORT = "privacy.export"
    EXPIRE_HOLDS = "upkeep.expire_holds"
    PREPARE_PARTITIONS = "upkeep.prepare_partitions"
    PURGE = "privacy.purge"
    ARCHIVE = "privacy.archive"
    SNAPSHOT = "privacy.snapshot"
    DRILL = "privacy.drill"
    LOST_FACTORS = "upkeep.lost_factors"
    CHECK_LEDGER = "upkeep.check_ledger"
    RESEAL = "upkeep.reseal"
    ERASE = "privacy.erase"
    ERASURES = "privacy.erasures"
    REMIND = "privacy.remind"


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
    TaskName.SEND_MAIL: Policy(Queue.MAIL, attempts=20, backoff=5, backoff_cap=1800),
    TaskName.ANNOUNCE: Policy(Queue.UPKEEP, attempts=12, backoff=5, backoff_cap=600),
    TaskName.LOW_BALANCE: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.HANDLE_STRIPE_EVENT: Policy(Queue.BILLING, attempts=12, backoff=2, backoff_cap=3600),
    TaskName.CREDIT_PURCHASE: Policy(Queue.BILLING, attempts=12, backoff=2, backoff_cap=3600),
    TaskName.ISSUE_REFUND: Policy(Queue.BILLING, attempts=12, backoff=2, backoff_cap=3600),
    TaskName.RECONCILE: Policy(Queue.BILLING, attempts=5, backoff=30, backoff_cap=600),
    TaskName.ISSUE_RECEIPT: Policy(Queue.BILLING, attempts=12, backoff=1, backoff_cap=600),
    TaskName.TELL_POLICIES: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.CHECK_POLICIES: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.PUBLISH_POST: Policy(Queue.UPKEEP, attempts=8, backoff=5, backoff_cap=600),
    TaskName.RENDER_ANEW: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.PROCESS_MEDIA: Policy(Queue.MEDIA, attempts=5, backoff=2, backoff_cap=300),
    TaskName.SWEEP_MEDIA: Policy(Queue.MEDIA, attempts=3, backoff=30),
    TaskName.EXPORT: Policy(Queue.UPKEEP, attempts=6, backoff=5, backoff_cap=600),
    TaskName.EXPIRE_HOLDS: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.PREPARE_PARTITIONS: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.PURGE: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.ARCHIVE: Policy(Queue.UPKEEP, attempts=3, backoff=60),
    TaskName.SNAPSHOT: Policy(Queue.UPKEEP, attempts=3, backoff=60),
    TaskName.DRILL: Policy(Queue.UPKEEP, attempts=2, backoff=60),
    TaskName.LOST_FACTORS: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.CHECK_LEDGER: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.RESEAL: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.ERASE: Policy(Queue.UPKEEP, attempts=20, backoff=2, backoff_cap=600),
    TaskName.ERASURES: Policy(Queue.UPKEEP, attempts=3, backoff=10),
    TaskName.REMIND: Policy(Queue.UPKEEP, attempts=3, backoff=10),
}

TICK = "every:"  # what beat sends instead of a job's id: "every:3600" is one job for each hour


@cache
def celery() -> Celery:
    """The Celery application of this process; workers/app.py adds the tasks to it.

    The settings follow requirements/celery.md 9; each answers a failure that was measured there.
    """
    app = Celery("clofy", set_as_current=True)
    app.conf.update(
        broker_url=settings().redis_url,
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_consumer="workers.consumer:Consumer",
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 7200,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "priority_steps": [0],
            "client_name": "celery",
        },
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=False,
        task_queues=[KombuQueue(name, routing_key=name) for name in Queue],
        task_default_queue=Queue.UPKEEP,
        task_routes={name: {"queue": policy.queue, "routing_key": policy.queue} for name, policy in POLICIES.items()},
        enable_utc=True,
        timezone="UTC",
        beat_schedule_filename="celerybeat-schedule",
    )
    return app


Ring = tuple[TaskName, UUID]

MOST_WAITING = 10_000  # rings kept while Redis is slow; beyond it the sweeper rings


class Doorbell:
    """Sends jobs' ids to their queues from the loop of this process: at once when idle, and what piled up when busy.

    Nobody waits for it, and its time-outs are short: a frozen Redis holds one task of the loop, never a request.
    """

    def __init__(self) -> None:
        self._waiting: deque[Ring] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self._redis = Redis.from_url(
            settings().redis_url,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),  # for one that a restart has cut
            client_name="doorbell",
        )

    def ring(self, rings: Sequence[Ring]) -> None:
        self._waiting.extend(rings)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._empty(), name="doorbell")

    async def _empty(self) -> None:
        while self._waiting:
            await self.send([self._waiting.popleft() for _ in range(min(len(self._waiting), 100))])

    async def send(self, rings: Sequence[Ring]) -> bool:
        """Send them now; returns whether Redis took them."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for name, job_id in rings:
                    pipe.lpush(POLICIES[name].queue, message(name, str(job_id)))
                await pipe.execute()
        except (RedisError, OSError) as error:
            log(__name__).warning("doorbell_not_rung", jobs=len(rings), error=type(error).__name__)
            return False
        return True

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2)
        await self._redis.aclose()


_doorbells: dict[asyncio.AbstractEventLoop, Doorbell] = {}


def _doorbell() -> Doorbell:
    """Of the running loop; a process has one loop, a run of tests may have several."""
    loop = asyncio.get_running_loop()
    if loop not in _doorbells:
        _doorbells[loop] = Doorbell()
    return _doorbells[loop]


def ring(rings: Sequence[Ring]) -> None:
    """Send jobs' ids to their queues, soon; returns at once.

    Nothing is promised: a ring that is lost, for Redis is away or this process dies, is sent again by the sweeper.
    """
    _doorbell().ring(rings)


async def ring_now(rings: Sequence[Ring]) -> bool:
    """Send jobs' ids; returns whether Redis took them all."""
    return await _doorbell().send(rings)


async def close_doorbell() -> None:
    """Let what was rung leave, for at most two seconds, and close the connection."""
    if (bell := _doorbells.pop(asyncio.get_running_loop(), None)) is not None:
        await bell.close()


def message(name: TaskName, argument: str) -> bytes:
    """A task's message as Celery itself writes it to Redis (its protocol 2), without what `send_task` does around it.

    argument: the only one; a job's id, which is the task's id too, so that Flower names what the row names
    tests/contracts/test_doorbell.py holds this to Celery's own message.
    """
    body = base64.b64encode(b'[["%b"], {}, %b]' % (argument.encode(), _EMBED)).decode()
    queue = POLICIES[name].queue
    return orjson.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": name,
                "id": argument,
                "root_id": argument,
                "parent_id": None,
                "group": None,
                "argsrepr": "",
                "kwargsrepr": "",
                "retries": 0,
                "timelimit": [None, None],
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "origin": "clofy",
            },
            "properties": {
                "correlation_id": argument,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )


_EMBED = b'{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'
