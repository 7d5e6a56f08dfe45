"""The target of `celery -A workers.app`: the application, its tasks, and how a worker starts and stops."""

import asyncio
import os
import sys
from typing import Any

from celery import signals
from celery.concurrency.thread import TaskPool as ThreadPool

import core.queue
from beat_schedule import BEAT_SCHEDULE
from core import jobs, secrets
from core.errors import Unavailable
from core.privacy import restores
from core.telemetry import start_logging
from workers import (  # noqa: F401  # registers their tasks
    archive,
    billing,
    blog,
    consultations,
    erasure,
    exports,
    letters,
    mail,
    media,
    policies,
    purge,
    receipts,
    requests,
    upkeep,
)
from workers.process import has_process, process

app = core.queue.celery()
app.conf.beat_schedule = BEAT_SCHEDULE

jobs.refuse_unknown_ends()

DRAIN_SECONDS = float(os.environ.get("CLOFY_DRAIN_SECONDS", "20"))  # below the stop_grace_period of docker-compose.yml


@signals.setup_logging.connect
def _log(**_: Any) -> None:
    start_logging("worker")


@signals.worker_init.connect
def _read_secrets(**_: Any) -> None:
    """Before any fork and any task. Celery only logs an error of a signal's; this one must stop the start."""
    start_logging("worker")  # Celery has it done after this
    try:
        asyncio.run(secrets.load())
    except (secrets.UnfitSecrets, Unavailable) as error:
        sys.exit(f"the secrets: {error}")
    asyncio.run(restores.wait_until_ended())


@signals.worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    if isinstance(sender.pool, ThreadPool):  # a prefork parent must have no loop and no thread
        process()


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    if has_process():
        process().drain(DRAIN_SECONDS)


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    if has_process():
        process().close()
