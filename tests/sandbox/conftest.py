import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from sandbox.postgres import scratch_directory
from sandbox.standins import StandIns


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def standins(scratch: Path) -> Iterator[StandIns]:
    with StandIns(scratch / "standins") as started:
        yield started


@pytest.fixture
async def control(standins: StandIns) -> AsyncIterator[httpx.AsyncClient]:
    """The knobs, as at the start and without mails."""
    async with httpx.AsyncClient(base_url=standins.url, trust_env=False, timeout=10) as client:
        (await client.post("/control/reset")).raise_for_status()
        (await client.delete("/mail")).raise_for_status()
        yield client
        (await client.post("/control/reset")).raise_for_status()


@dataclass
class Receiver:
    """An endpoint for webhooks: checks each by Stripe's own library and answers what the test has put in `answers`."""

    url: str = ""
    secret: str = ""
    answers: list[int] = field(default_factory=list)
    events: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = await reader.readexactly(int(headers["content-length"]))
            stripe.Webhook.construct_event(body, headers["stripe-signature"], self.secret)
            self.events.put_nowait(json.loads(body))
            status = self.answers.pop(0) if self.answers else 200
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # a connection that was opened and not used
        finally:
            writer.close()

    async def next(self, count: int = 1) -> list[str]:
        """The types of the next events, in the order of their arrival."""
        async with asyncio.timeout(10):
            return [(await self.events.get())["type"] for _ in range(count)]


@pytest.fixture
async def receiver(control: httpx.AsyncClient, standins: StandIns) -> AsyncIterator[Receiver]:
    """Webhooks of this test, and of no other."""
    receiver = Receiver(secret=standins.webhook_secret)
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/stripe"
    (await control.patch("/control", json={"stripe": {"webhook_url": receiver.url}})).raise_for_status()
    async with server:
        yield receiver
