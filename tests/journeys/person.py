"""A person with a browser, as far as HTTP goes: registers, signs in, buys, asks, and follows the answer."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from tests.house import House, Stack

PASSWORD = "correct horse battery staple 9"
Event = dict[str, Any]


@dataclass
class Person:
    house: House
    http: httpx.AsyncClient
    email: str = field(default_factory=lambda: f"{uuid4()}@people.example")
    csrf: str = ""

    @classmethod
    @asynccontextmanager
    async def at(cls, house: House) -> AsyncIterator[Self]:
        async with httpx.AsyncClient(
            base_url=house.web_url, timeout=30, limits=httpx.Limits(max_connections=300)
        ) as http:
            yield cls(house, http)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"X-CSRF-Token": self.csrf} | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def get(self, path: str) -> Any:
        return (await self.call("GET", path)).raise_for_status().json()

    async def refresh_csrf(self) -> None:
        self.csrf = (await self.get("/api/session"))["csrf_token"]

    async def mails(self, count: int = 1, *, seconds: float = 20) -> list[dict[str, Any]]:
        """The mails that came to this person, once there are `count`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            got = (await self.http.get(f"{self.house.standins.url}/mail", params={"to": self.email})).json()
            mails: list[dict[str, Any]] = got["mails"] if isinstance(got, dict) else got
            if len(mails) >= count:
                return mails
            assert asyncio.get_running_loop().time() < deadline, f"{len(mails)} of {count} mails"
            await asyncio.sleep(0.05)

    async def register(self) -> None:
        await self.refresh_csrf()
        facts = {"email": self.email, "password": PASSWORD, "name": "Pat Person", "birth_date": "1990-05-17"}
        assert (await self.call("POST", "/api/accounts", json=facts)).status_code == 202
        code = re.search(r"\b(\d{6})\b", (await self.mails())[0]["text"])
        assert code is not None
        proof = {"email": self.email, "code": code[1]}
        assert (await self.call("POST", "/api/accounts/verify", json=proof)).status_code == 204
        await self.sign_in()

    async def sign_in(self) -> None:
        await self.refresh_csrf()
        facts = {"email": self.email, "password": PASSWORD}
        signed = await self.call("POST", "/api/session", json=facts)
        assert signed.json()["state"] == "signed_in", signed.text
        await self.refresh_csrf()

    async def buy(self, bundle: str) -> dict[str, Any]:
        begun = await self.call(
            "POST", "/api/purchases", json={"bundle": bundle}, headers={"Idempotency-Key": str(uuid4())}
        )
        assert begun.status_code == 201, begun.text
        purchase: dict[str, Any] = begun.json()
        paid = await self.http.post(purchase["checkout_url"] + "/complete")
        assert paid.is_success, paid.text
        return purchase

    async def event_at_stripe(self, kind: str, purchase: str) -> str:
        """The body of the event that Stripe has about a purchase."""
        headers = {"Authorization": f"Bearer {self.house.standins.stripe_key}"}
        answer = await self.http.get(
            f"{self.house.standins.stripe_url}/v1/events?type={kind}&limit=100", headers=headers
        )
        events = answer.raise_for_status().json()["data"]
        return json.dumps(next(one for one in events if one["data"]["object"]["client_reference_id"] == purchase))

    async def credits(self) -> dict[str, int]:
        balance: dict[str, int] = await self.get("/api/credits")
        return balance

    async def until_credits(self, balance_mc: int, *, seconds: float = 15) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while (have := await self.credits())["balance_mc"] != balance_mc:
            assert asyncio.get_running_loop().time() < deadline, have
            await asyncio.sleep(0.05)

    async def begin(self, service: str = "general-advisor") -> str:
        begun = await self.call("POST", "/api/consultations", json={"service": service})
        assert begun.status_code == 201, begun.text
        return str(begun.json()["id"])

    async def ask(self, consultation: str, text: str = "How do I choose between two good offers?") -> httpx.Response:
        return await self.call("POST", f"/api/consultations/{consultation}/messages", json={"text": text})

    async def asked(self, consultation: str, text: str = "How do I choose between two good offers?") -> str:
        response = await self.ask(consultation, text)
        assert response.status_code == 202, response.text
        return str(response.json()["job"])

    async def ticket(self) -> str:
        return str((await self.call("POST", "/api/live-ticket")).raise_for_status().json()["ticket"])

    async def open_socket(
        self,
        web_url: str | None = None,
        *,
        origin: str | None,
        cookies: str | None = None,
        hello: bool = False,
        max_queue: int = 1000,
    ) -> ClientConnection:
        """A socket to this web process, or another one; as a browser sends it, or not quite."""
        if cookies is None:
            cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies.jar)
        socket = await connect(
            (web_url or self.house.web_url).replace("http://", "ws://") + "/live",
            additional_headers={"Cookie": cookies, "Host": self.house.web_url.removeprefix("http://")},
            origin=None if origin is None else Origin(origin),
            compression=None,
            max_size=None,
            max_queue=max_queue,
        )
        if hello:
            await socket.send(json.dumps({"hello": await self.ticket()}))
            assert json.loads(await socket.recv()) == {"type": "hello"}
        return socket

    @asynccontextmanager
    async def live(self, web_url: str | None = None) -> AsyncIterator[ClientConnection]:
        """An open socket that has said hello."""
        socket = await self.open_socket(web_url, origin=self.house.web_url, hello=True)
        try:
            yield socket
        finally:
            await socket.close()

    async def follow(self, job: str, after: str = "") -> list[Event]:
        """All events of a job after an id, over a socket, to its end."""
        async with self.live() as socket:
            await socket.send(json.dumps({"watch": job, "after": after}))
            return await to_the_end(socket)

    async def until_event(self, job: str, kind: str, *, seconds: float = 20) -> None:
        """Until a job has told an event of this type."""
        deadline, after = asyncio.get_running_loop().time() + seconds, ""
        while True:
            got = await self.get(f"/api/jobs/{job}/events?after={after}&wait=5")
            if kind in [event["type"] for event in got["events"]]:
                return
            after = got["events"][-1]["id"] if got["events"] else after
            assert asyncio.get_running_loop().time() < deadline, f"no {kind} of {job}"

    async def until_ended(self, job: str, *, seconds: float = 60) -> dict[str, Any]:
        """The job, once its row says that it has ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            seen: dict[str, Any] = await self.get(f"/api/jobs/{job}")
            if seen["state"] not in ("queued", "running"):
                return seen
            assert asyncio.get_running_loop().time() < deadline, seen
            await asyncio.sleep(0.2)

    async def poll(self, job: str, after: str = "") -> list[Event]:
        """The same by long polling."""
        events: list[Event] = []
        while True:
            got = await self.get(f"/api/jobs/{job}/events?after={after}&wait=20")
            events += got["events"]
            if got["done"]:
                return events
            after = events[-1]["id"] if events else after


async def to_the_end(socket: ClientConnection) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1]["type"] not in ("done", "failed", "cancelled"):
        events.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    return events


def text_of(events: list[Event]) -> str:
    """What a browser shows after these events."""
    shown = ""
    for event in events:
        if event["type"] in ("started", "restarted"):
            shown = event["data"]["text"]
        elif event["type"] == "delta":
            shown += event["data"]["text"]
    return shown


@asynccontextmanager
async def admin_of(stack: Stack) -> AsyncIterator[Person]:
    """An admin, signed in as if by an authenticator app. A new role ends the sessions that were under the old one."""
    async with Person.at(stack) as admin:
        await admin.register()
        stack.sql("update accounts set role = 'admin' where email = :email", email=admin.email)
        await admin.sign_in()
        stack.sql(
            "update web_sessions set factor = 'totp' where account_id = (select id from accounts where email = :email)",
            email=admin.email,
        )
        yield admin
