"""Who walks through `make tour`: a person with a browser, as far as HTTP goes, and the printing of their steps."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Origin

from sandbox.processes import SandboxError

PATIENCE = 30.0  # seconds for anything that somebody waits for
MARGIN = " " * 13  # an answer's left edge, below the names of the steps
ENDS = {"done", "failed", "cancelled"}


class TourEnded(SandboxError):
    """A step did not hold."""


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise TourEnded(otherwise)


@contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Time a step and print it with what is put into the list; what goes wrong in it ends the tour."""
    facts: list[str] = []
    began = time.perf_counter()
    try:
        yield facts
    except (SandboxError, httpx.HTTPError, WebSocketException, OSError, LookupError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise TourEnded(f"The tour ended at: {name}. {why}") from error
    print(f"{(time.perf_counter() - began) * 1000:8.0f} ms  {name:<24}{', '.join(facts)}".rstrip(), flush=True)


def in_credits(amount_mc: int) -> str:
    return f"{amount_mc / 1000:,.3f} credits"


def show(text: str) -> str:
    """Print a piece of an answer where the last one ended."""
    print(text.replace("\n", f"\n{MARGIN}"), end="", flush=True)
    return text


@dataclass
class Answer:
    """What a browser has seen of an answer."""

    text: str = ""
    first_token_ms: float | None = None
    end: str = ""
    result: dict[str, Any] = field(default_factory=dict)


class Visitor:
    """The person. `app` and `sandbox` are the two addresses of a sandbox."""

    def __init__(self, http: httpx.AsyncClient, app: str, sandbox: str) -> None:
        self.http, self.app, self.sandbox = http, app, sandbox
        self.email = f"visitor-{secrets.token_hex(4)}@tour.example"
        self.password = secrets.token_urlsafe(18)
        self.csrf = ""

    async def call(self, method: str, path: str, status: int, **options: Any) -> Any:
        """The JSON of an answer that must have this status."""
        headers = {"X-CSRF-Token": self.csrf, "Origin": self.app} if method != "GET" else {}
        answer = await self.http.request(method, self.app + path, headers=headers, **options)
        expect(answer.status_code == status, f"{method} {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json() if answer.content else None

    async def take_csrf(self) -> None:
        self.csrf = (await self.call("GET", "/api/session", 200))["csrf_token"]

    async def mail(self, *, count: int) -> dict[str, Any]:
        """The last of `count` mails to us, as soon as there are so many."""
        query: dict[str, str | int] = {"to": self.email, "count": count, "wait": int(PATIENCE)}
        mails = (await self.http.get(f"{self.sandbox}/mail", params=query)).raise_for_status().json()
        expect(len(mails) == count, f"{len(mails)} mails came, not {count}")
        return dict(mails[-1])

    async def credits(self, *, balance_mc: int) -> dict[str, int]:
        """What we have, once it is this much; a balance has no event to wait for."""
        deadline = time.monotonic() + PATIENCE
        while (have := await self.call("GET", "/api/credits", 200))["balance_mc"] != balance_mc:
            expect(time.monotonic() < deadline, f"the balance should be {in_credits(balance_mc)}, and we have {have}")
            await asyncio.sleep(0.02)
        return dict(have)

    async def ask(self, consultation: str, question: str) -> tuple[str, int]:
        """The job that answers, and what is held for it."""
        asked = await self.call("POST", f"/api/consultations/{consultation}/messages", 202, json={"text": question})
        return asked["job"], asked["hold_mc"]

    async def events(self, job: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a job over /live, to its end."""
        ticket = (await self.call("POST", "/api/live-ticket", 200))["ticket"]
        cookies = "; ".join(f"{one.name}={one.value}" for one in self.http.cookies.jar)
        address = f"ws{self.app.removeprefix('http')}/live"
        async with connect(address, origin=Origin(self.app), additional_headers={"Cookie": cookies}) as socket:
            await socket.send(json.dumps({"hello": ticket}))
            expect(json.loads(await socket.recv()) == {"type": "hello"}, "the socket did not say hello")
            await socket.send(json.dumps({"watch": job, "after": ""}))
            while True:
                event = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))
                yield event
                if event["type"] in ENDS:
                    return

    async def watch(self, job: str, *, asked_at: float, stop_after: int | None = None) -> Answer:
        """Show an answer as it streams. After `stop_after` pieces we ask to stop it, as its button does."""
        answer, pieces = Answer(), 0
        print(MARGIN, end="")
        async for event in self.events(job):
            match event["type"]:
                case "delta":
                    if answer.first_token_ms is None:
                        answer.first_token_ms = (time.perf_counter() - asked_at) * 1000
                    answer.text += show(event["data"]["text"])
                    pieces += 1
                    if pieces == stop_after:
                        await self.http.delete(f"{self.app}/api/jobs/{job}", headers={"X-CSRF-Token": self.csrf})
                case "started" | "restarted":
                    answer.text = show(event["data"]["text"])
                case kind if kind in ENDS:
                    answer.end, answer.result = kind, event["data"]["result"] or {}
        print(flush=True)
        return answer
