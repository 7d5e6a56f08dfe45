"""Webhooks as Stripe sends them: signed, repeated until they are taken, in no certain order; and the knobs on that."""

import asyncio
import hashlib
import hmac
import json
import random
import time
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.stripe_store import Object, Store
from sandbox.telling import tell

TIMEOUT = 20  # seconds for an endpoint to answer
ATTEMPTS = 16
LONGEST_WAIT = 60  # seconds between two attempts; at Stripe it grows to hours


class ApiFailure(BaseModel):
    """How the next `times` calls (0: until reset) whose path contains `match` fail: with `status`, or by hanging.

    hang: never answer
    executed: whether Stripe has done what was asked, so that only the answer is lost
    """

    model_config = ConfigDict(extra="forbid")

    status: int = Field(default=500, ge=400, le=599)
    hang: bool = False
    executed: bool = False
    retry_after: float | None = None
    times: int = Field(default=1, ge=0)
    match: str = ""


class Knobs(BaseModel):
    """How Stripe behaves.

    webhooks: off holds events back until it is changed (reset drops them); doubled sends each twice at once; shuffled
        collects for window_ms and sends in another order; delayed waits delay_ms
    webhook_url: where they go; empty holds them back
    retry_ms: before the second attempt of a delivery; doubles with each further one
    settle_after_ms: when a delayed payment succeeds by itself; None leaves it to /control/stripe
    refunds: succeeded at once, or pending until /control/stripe finishes them
    latency_ms: added to each API call
    fail: failures of API calls to come; one object stands for a list of one
    """

    model_config = ConfigDict(extra="forbid")

    webhooks: Literal["on", "off", "doubled", "shuffled", "delayed"] = "on"
    webhook_url: str = ""
    delay_ms: float = Field(default=3000, ge=0)
    window_ms: float = Field(default=300, ge=0)
    retry_ms: float = Field(default=1000, ge=1)
    settle_after_ms: float | None = Field(default=10_000, ge=0)
    refunds: Literal["succeeded", "pending"] = "succeeded"
    latency_ms: float = Field(default=0, ge=0)
    fail: list[ApiFailure] = []

    @field_validator("fail", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [] if given is None else given if isinstance(given, list) else [given]


class Stats(BaseModel):
    """requests, replayed: API calls, and those answered from their idempotency key; events: made; attempts, delivered:
    of webhooks."""

    requests: int = 0
    replayed: int = 0
    events: int = 0
    attempts: int = 0
    delivered: int = 0


class Webhooks:
    """The deliveries that are under way or held back."""

    def __init__(self, store: Store, secret: str, knobs: Knobs) -> None:
        self.store, self.secret = store, secret
        self.knobs, self.stats = knobs, Stats()
        self.held: list[Object] = []
        self.collected: list[Object] = []
        self.tasks = set[asyncio.Task[None]]()
        self.client = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False)

    def resume(self) -> None:
        """Take up what was not delivered when the sandbox stopped."""
        for event in reversed(self.store.all("event")):
            if event["pending_webhooks"]:
                self.send(event)

    def publish(self, event: Object) -> None:
        self.stats.events += 1
        self.send(event)

    def turn(self, knobs: Knobs) -> None:
        """Set the knobs; what was held back goes out as they now say."""
        self.knobs = knobs
        held, self.held = self.held, []
        for event in held:
            self.send(event)

    def reset(self, knobs: Knobs) -> None:
        """Knobs and counts as given; nothing that was under way or held back is sent."""
        self.held.clear()
        self.collected.clear()
        for task in self.tasks:
            task.cancel()
        self.knobs, self.stats = knobs, Stats()

    async def close(self) -> None:
        self.reset(self.knobs)
        await self.client.aclose()

    def send(self, event: Object) -> None:
        """Deliver an event as the knobs say."""
        mode = self.knobs.webhooks
        if mode == "off" or not self.knobs.webhook_url:
            self.held.append(event)
        elif mode == "shuffled":
            self.collected.append(event)
            if len(self.collected) == 1:
                self._start(self._shuffled())
        else:
            wait = self.knobs.delay_ms / 1000 if mode == "delayed" else 0
            for _ in range(2 if mode == "doubled" else 1):
                self._start(self._deliver(event, wait))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _shuffled(self) -> None:
        await asyncio.sleep(self.knobs.window_ms / 1000)
        events, self.collected = self.collected, []
        order = random.sample(events, len(events))
        for event in order if order != events else reversed(events):
            if not await self._attempt(event):
                self._start(self._deliver(event, self.knobs.retry_ms / 1000))

    async def _deliver(self, event: Object, wait: float) -> None:
        for attempt in range(ATTEMPTS):
            await asyncio.sleep(wait)
            if await self._attempt(event):
                return
            wait = min(self.knobs.retry_ms / 1000 * 2**attempt, LONGEST_WAIT)
        tell(f"webhook {event['type']} given up after {ATTEMPTS} attempts")

    async def _attempt(self, event: Object) -> bool:
        self.stats.attempts += 1
        body = json.dumps({**event, "pending_webhooks": 1}, indent=2).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "stripe-signature": sign(body, self.secret),
        }
        try:
            answer = await self.client.post(self.knobs.webhook_url, content=body, headers=headers)
        except httpx.HTTPError as error:
            tell(f"webhook {event['type']} not taken: {type(error).__name__}")
            return False
        tell(f"webhook {event['type']} -> {answer.status_code}")
        if not answer.is_success:
            return False
        self.stats.delivered += 1
        if event["pending_webhooks"]:
            event["pending_webhooks"] = 0
            self.store.put(event)
        return True


def sign(body: bytes, secret: str, at: int | None = None) -> str:
    """The Stripe-Signature of a body: docs.stripe.com/webhooks, "Verify manually"."""
    moment = int(time.time()) if at is None else at
    code = hmac.new(secret.encode(), b"%d.%b" % (moment, body), hashlib.sha256).hexdigest()
    return f"t={moment},v1={code}"
