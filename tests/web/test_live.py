"""What a socket is told when it asks for a job: the job, that there is none, or that its session has ended."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from quart import Quart

from core import jobs
from core.accounts.web_sessions import end_session, find_session, start_session
from core.database import transaction
from core.direct import DatabaseAway
from core.queue import TaskName
from tests.core.billing.kit import sign_in
from tests.makers import make_account
from web import live, places
from web.live import POLICY, TRY_AGAIN, Rejected, Socket


async def open_socket(account_id: UUID) -> Socket:
    async with transaction() as session:
        token = await start_session(session, account_id=account_id, user_agent="a test", ip="127.0.0.1")
    account = await find_session(token)
    assert account is not None
    return Socket(None, None, token, account)


async def make_job(account_id: UUID) -> UUID:
    async with transaction() as session:
        made = await jobs.enqueue(session, TaskName.EXPIRE_HOLDS, payload={}, account_id=account_id)
    assert made is not None
    return made


def said(socket: Socket) -> list[Any]:
    return [orjson.loads(frame) for frame in socket.outbox]


async def test_ones_own_job_is_watched(app: Quart, account_id: UUID) -> None:
    socket, job_id = await open_socket(account_id), await make_job(account_id)

    await socket._watch(job_id, "")

    assert [(one["job"], one["type"]) for one in said(socket)] == [(str(job_id), "queued")]
    assert list(socket.watches) == [job_id]
    await live.hub().unwatch(socket.watches[job_id])


@pytest.mark.parametrize("whose", ["nobody", "another"])
async def test_what_is_not_ones_own_is_not_there(app: Quart, account_id: UUID, whose: str) -> None:
    socket = await open_socket(account_id)
    job_id = await make_job(uuid4()) if whose == "another" else uuid4()

    await socket._watch(job_id, "")

    assert said(socket) == [{"job": str(job_id), "type": "refused", "data": {"code": "not-found"}}]
    assert not socket.watches


async def test_a_session_that_has_ended_watches_nothing_more(app: Quart, account_id: UUID) -> None:
    socket, job_id = await open_socket(account_id), await make_job(account_id)
    async with transaction() as session:
        await end_session(session, token=socket.token)

    with pytest.raises(Rejected) as rejected:
        await socket._watch(job_id, "")

    assert (rejected.value.code, str(rejected.value)) == (POLICY, "signed out")
    assert said(socket) == []


async def test_a_socket_is_told_to_come_again_when_the_database_is_away(
    app: Quart, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: Socket) -> None:
        raise DatabaseAway

    sent: list[dict[str, Any]] = []

    async def send(frame: dict[str, Any]) -> None:
        sent.append(frame)

    socket = await open_socket(account_id)
    socket.send = send
    monkeypatch.setattr(Socket, "_read", away)

    async with asyncio.timeout(5):
        await socket.serve()

    assert sent == [{"type": "websocket.close", "code": TRY_AGAIN, "reason": "not now"}]


async def knock(app: Quart, account_id: UUID, *, peer: str = "203.0.113.9", **more: Any) -> tuple[list[Any], Any]:
    """Ask for a socket; what was said, and what ends it."""
    async with transaction() as session:
        token = await start_session(session, account_id=account_id, user_agent="a test", ip="127.0.0.1")
    site, said_to_it, gone = app.extensions["site"], [], asyncio.Event()
    opened = asyncio.Event()
    frames = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        for frame in frames:
            return frame
        await gone.wait()
        return {"type": "websocket.disconnect"}

    async def send(frame: dict[str, Any]) -> None:
        said_to_it.append(frame)
        opened.set()

    pairs = {"Host": site.host, "Origin": site.origin, "Cookie": f"{site.session_cookie}={token}"}
    scope = {
        "type": "websocket",
        "path": "/live",
        "query_string": b"",
        "client": (peer, 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
        **more,
    }
    task = asyncio.create_task(app.asgi_app(scope, receive, send))  # type: ignore[arg-type]
    await asyncio.wait([task, asyncio.create_task(opened.wait())], return_when=asyncio.FIRST_COMPLETED)

    async def leave() -> None:
        gone.set()
        await task

    return said_to_it, leave


@pytest.mark.parametrize(
    ("cap", "other"), [("MOST_OF_ACCOUNT", {"peer"}), ("MOST_OF_ADDRESS", {"account"}), ("MOST", {"peer", "account"})]
)
async def test_no_more_sockets_are_opened_than_may_be(
    app: Quart, account_id: UUID, monkeypatch: pytest.MonkeyPatch, cap: str, other: set[str]
) -> None:
    monkeypatch.setattr(places, cap, 1)
    async with transaction() as session:
        another = await make_account(session) if "account" in other else account_id
    peer = "198.51.100.7" if "peer" in other else "203.0.113.9"

    first, leave = await knock(app, account_id)
    second, _ = await knock(app, another, peer=peer)
    third, _ = await knock(app, another, peer=peer, extensions={"websocket.http.response": {}})
    await leave()
    fourth, leave_too = await knock(app, another, peer=peer)
    await leave_too()

    assert first[0] == fourth[0] == {"type": "websocket.accept"}
    assert second == [{"type": "websocket.close", "code": TRY_AGAIN}]
    assert (third[0]["type"], third[0]["status"]) == ("websocket.http.response.start", 429)
    assert not places._taken


async def test_tickets_are_not_made_without_end(app: Quart, account_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_TICKETS", 2)
    headers = await sign_in(account_id)

    made = [await app.test_client(use_cookies=False).post("/api/live-ticket", headers=headers) for _ in range(3)]

    assert [one.status_code for one in made] == [200, 200, 429]
