"""Celery's consumer with three corrections; named in core/queue.py as `worker_consumer`."""

import inspect
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

EVENTS_SECONDS = 0.25  # how late Flower may see a task


class Consumer(CeleryConsumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        refuse_bare_coroutines(self.app.tasks)

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.call_repeatedly(EVENTS_SECONDS, self._flush_events)

    def on_send_event_buffered(self) -> None:
        """Leave Flower's events to the timer above: a message for each was a quarter of what a task costs Celery."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Survive a restart of Redis: 5.7.0 closes a connection that holds unacknowledged messages, and dies of it.

        Measured, with the cure: requirements/celery.md 0.1. Drop it when test_redis_away.py passes without.
        """
        if self.connection is not None:
            self.connection.close = lambda *_args, **_kwargs: None
        super().on_connection_error_after_connected(exc)


def refuse_bare_coroutines(tasks: dict[str, Any]) -> None:
    """Stop the start-up when a task is a bare `async def`: Celery 5.7 would report SUCCESS and never run its body."""
    bare = [name for name, task in tasks.items() if inspect.iscoroutinefunction(task.run)]
    if bare:
        raise SystemExit(f"bare async tasks would never run; use @task of workers.runtime: {', '.join(sorted(bare))}")
