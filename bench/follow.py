"""The events of answers as a socket brings them: each once, in order, to the end."""

import asyncio
import time
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection

from bench.answers import Answer

ENDS = frozenset({"done", "failed", "cancelled"})


class Followed:
    """One answer and which events may come next."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.next = {"0-1", "1-0"}

    def take(self, event: dict[str, Any], now: int) -> None:
        answer, kind, name = self.answer, event["type"], event["id"]
        if name not in self.next:
            answer.faults.append(f"{kind} {name} where {sorted(self.next)} was next")
        attempt, number = (int(part) for part in name.split("-"))
        self.next = {f"{attempt}-{number + 1}", f"{attempt + 1}-0"}
        if kind == "delta":
            answer.first = answer.first or now
            answer.parts.append(event["data"]["text"])
        elif kind in ENDS:
            answer.ended = now
            if kind != "done":
                answer.faults.append(f"{kind}: {event['data']}")


async def follow(socket: ClientConnection, answer: Answer) -> None:
    """Watch one answer to its end; nothing else may come meanwhile."""
    followed = Followed(answer)
    await socket.send(f'{{"watch":"{answer.job}"}}')
    while not answer.ended:
        event = orjson.loads(await socket.recv(decode=False))
        if event["job"] != answer.job:
            answer.faults.append(f"an event of {event['job']}")
            continue
        followed.take(event, time.perf_counter_ns())


class Watcher:
    """Several answers on one socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.followed: dict[str, Followed] = {}

    async def watch(self, answer: Answer) -> None:
        self.followed[answer.job] = Followed(answer)
        await self.socket.send(f'{{"watch":"{answer.job}"}}')

    async def read(self, count: int) -> None:
        """Until so many have ended."""
        ended = 0
        while ended < count:
            event = orjson.loads(await asyncio.wait_for(self.socket.recv(decode=False), 120))
            followed = self.followed[event["job"]]
            followed.take(event, time.perf_counter_ns())
            ended += event["type"] in ENDS
