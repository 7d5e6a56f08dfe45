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
from web import live
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
