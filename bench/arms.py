"""The ways to an answer that are compared: straight to the stand-in, through a proxy, through the whole product."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import orjson
from websockets.asyncio.client import ClientConnection, connect

from bench.answers import Answer, request
from bench.follow import follow
from bench.http import Http


class Events:
    """Server-sent events of a chat completion, read as they come."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.rest = answer, b""

    def feed(self, part: bytes) -> None:
        now = time.perf_counter_ns()
        *events, self.rest = (self.rest + part).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: {"):
                self._take(orjson.loads(event[6:]), now)

    def _take(self, chunk: dict[str, Any], now: int) -> None:
        for choice in chunk["choices"]:
            if text := choice["delta"].get("content"):
                self.answer.first = self.answer.first or now
                self.answer.parts.append(text)
                if "sent_ns" in chunk:
                    self.answer.lags.append(now - chunk["sent_ns"])


@dataclass
class Completions:
    """An arm that speaks the vendor's protocol: the stand-in itself, or a proxy before it."""

    name: str
    path: str
    model: str
    free: deque[Http]

    @classmethod
    async def open(
        cls, name: str, *, url: str, path: str, model: str, headers: dict[str, str], connections: int
    ) -> Self:
        return cls(name, path, model, deque([await Http.open(url, headers) for _ in range(connections)]))

    async def answer(self, question: str) -> Answer:
        http = self.free.popleft()
        answer = Answer(question)
        status, _ = await http.ask("POST", self.path, request(question, self.model), on_part=Events(answer).feed)
        answer.sent, answer.ended = http.sent_ns, time.perf_counter_ns()
        if status != 200:
            answer.faults.append(f"status {status}")
        self.free.append(http)
        return answer

    async def close(self) -> None:
        for http in self.free:
            http.close()


@dataclass
class Person:
    """Signed in, with one HTTP connection and a tab open: one socket."""

    account_id: UUID
    url: str
    cookie: str
    http: Http
    socket: ClientConnection = field(init=False)
    consultations: deque[str] = field(default_factory=deque)  # each is asked once, so that no history grows

    @classmethod
    async def arrive(cls, url: str, account_id: UUID, cookie: str, csrf: str) -> Self:
        http = await Http.open(url, {"cookie": cookie, "x-csrf-token": csrf, "origin": url})
        person = cls(account_id, url, cookie, http)
        person.socket = await person.open_tab()
        return person

    async def open_tab(self) -> ClientConnection:
        """Another socket that has said hello."""
        status, body = await self.http.ask("POST", "/api/live-ticket")
        assert status == 200, body
        address = self.url.replace("http://", "ws://") + "/live"
        origin: Any = self.url
        socket = await connect(address, additional_headers={"Cookie": self.cookie}, origin=origin, compression=None)
        await socket.send(orjson.dumps({"hello": orjson.loads(body)["ticket"]}).decode())
        assert orjson.loads(await socket.recv()) == {"type": "hello"}
        return socket

    async def submit(self, question: str) -> Answer:
        """Ask, and do not wait for the answer."""
        answer = Answer(question)
        body, path = orjson.dumps({"text": question}), f"/api/consultations/{self.consultations.popleft()}/messages"
        status, said = await self.http.ask("POST", path, body)
        answer.sent, answer.accepted = self.http.sent_ns, time.perf_counter_ns()
        if status == 202:
            answer.job = orjson.loads(said)["job"]
        else:
            answer.faults.append(f"status {status}: {said!r}")
        return answer

    async def ask(self, question: str) -> Answer:
        """Ask, and watch the answer to its end."""
        answer = await self.submit(question)
        if answer.job:
            await follow(self.socket, answer)
        return answer

    async def leave(self) -> None:
        self.http.close()
        await self.socket.close()


@dataclass
class Product:
    """The whole way: web, PostgreSQL, Celery, worker, stream, socket."""

    name: str
    people: list[Person]

    def __post_init__(self) -> None:
        self.free = deque(self.people)

    async def answer(self, question: str) -> Answer:
        """The next person's turn: a person may send 20 messages a second over one socket, and no more."""
        person = self.free.popleft()
        answer = await person.ask(question)
        self.free.append(person)
        return answer

    async def close(self) -> None:
        for person in self.people:
            await person.leave()
