"""Bar 5: whatever ends a session cuts its sockets on every web process, and a shut account has no open answer."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.house import Stack
from tests.journeys.person import PASSWORD, Person

WITHIN = 5.0  # seconds
Ending = Callable[[Stack, Person], Awaitable[None]]


async def sign_out(_: Stack, person: Person) -> None:
    assert (await person.call("DELETE", "/api/session")).status_code == 204


async def revoke_from_elsewhere(stack: Stack, person: Person) -> None:
    mine = (await person.get("/api/sessions"))["sessions"][0]["id"]
    async with Person.at(stack) as elsewhere:
        elsewhere.email = person.email
        await elsewhere.sign_in()
        assert (await elsewhere.call("DELETE", f"/api/sessions/{mine}")).status_code == 204


async def sign_out_everywhere_else(stack: Stack, person: Person) -> None:
    async with Person.at(stack) as elsewhere:
        elsewhere.email = person.email
        await elsewhere.sign_in()
        assert (await elsewhere.call("DELETE", "/api/sessions")).status_code == 204


async def change_the_password_elsewhere(stack: Stack, person: Person) -> None:
    async with Person.at(stack) as elsewhere:
        elsewhere.email = person.email
        await elsewhere.sign_in()
        facts = {"current": PASSWORD, "password": "seven umbrellas for one walrus"}
        assert (await elsewhere.call("PUT", "/api/account/password", json=facts)).status_code == 200


async def demote(stack: Stack, person: Person) -> None:
    await asyncio.to_thread(stack.run, "cli", "accounts", "promote", person.email, "--reason", "a test")


async def disable(stack: Stack, person: Person) -> None:
    await asyncio.to_thread(stack.run, "cli", "accounts", "disable", person.email, "--reason", "a test")


async def disable_by_hand(stack: Stack, person: Person) -> None:
    stack.sql("update accounts set disabled_at = now() where email = :email", email=person.email)


@asynccontextmanager
async def three_streaming(stack: Stack, person: Person) -> AsyncIterator[tuple[list[ClientConnection], list[str]]]:
    """Sockets on both web processes, each in the middle of an answer."""
    stack.control(openai={"first_token_ms": 20, "gap_ms": 100, "tokens": 600})
    jobs = [await person.asked(await person.begin()) for _ in range(3)]
    ports = [stack.web_ports[number % 2] for number in range(3)]
    sockets = []
    for job, port in zip(jobs, ports, strict=True):
        socket = await person.open_socket(f"http://127.0.0.1:{port}", origin=person.house.web_url, hello=True)
        await socket.send(json.dumps({"watch": job, "after": ""}))
        while json.loads(await asyncio.wait_for(socket.recv(), 20))["type"] != "delta":
            pass
        sockets.append(socket)
    yield sockets, jobs
    for socket in sockets:
        await socket.close()


async def until_closed(socket: ClientConnection) -> tuple[float, int | None]:
    """When it was closed, and with which code."""
    try:
        while True:
            await asyncio.wait_for(socket.recv(), 20)
    except ConnectionClosed as closed:
        return time.monotonic(), closed.rcvd.code if closed.rcvd else None


@pytest.mark.parametrize(
    "ending",
    [
        sign_out,
        revoke_from_elsewhere,
        sign_out_everywhere_else,
        change_the_password_elsewhere,
        demote,
        disable,
        disable_by_hand,
    ],
)
async def test_sockets_on_two_web_processes_are_cut_within_seconds(
    stack: Stack, person: Person, ending: Ending
) -> None:
    async with three_streaming(stack, person) as (sockets, _):
        closings = asyncio.gather(*[until_closed(socket) for socket in sockets])
        await ending(stack, person)
        ended = time.monotonic()
        closed = await closings

    assert [code for _, code in closed] == [1008] * 3
    assert max(at for at, _ in closed) - ended < WITHIN
    assert (await person.call("GET", "/api/account")).status_code == 401


async def until_ended(stack: Stack, jobs: list[str]) -> list[str]:
    deadline = time.monotonic() + 2 * WITHIN
    while True:
        rows = stack.sql("select state from jobs where id = any(:jobs)", jobs=[UUID(job) for job in jobs])
        states = [str(row["state"]) for row in rows]
        if not {"queued", "running"} & set(states):
            return states
        assert time.monotonic() < deadline, states
        await asyncio.sleep(0.1)


async def test_answers_of_a_shut_account_are_stopped_and_settled(stack: Stack, person: Person) -> None:
    async with three_streaming(stack, person) as (_, jobs):
        await disable(stack, person)
        states = await until_ended(stack, jobs)

    held = stack.sql(
        "select held_mc, balance_mc from credit_accounts join accounts on id = account_id where email = :email",
        email=person.email,
    )
    assert states == ["cancelled"] * 3
    assert held[0]["held_mc"] == 0
    assert 0 < held[0]["balance_mc"] < 500_000
    assert stack.unbalanced() == []


async def test_sockets_are_cut_while_redis_is_away(stack: Stack, person: Person) -> None:
    async with person.live() as socket:
        stack.freeze_redis()
        try:
            closing = asyncio.create_task(until_closed(socket))
            stack.sql(
                "delete from web_sessions where account_id = (select id from accounts where email = :email)",
                email=person.email,
            )
            ended = time.monotonic()
            at, code = await closing
        finally:
            stack.thaw_redis()

    assert code == 1008
    assert at - ended < WITHIN


async def test_an_ending_that_nobody_heard_is_seen_when_the_listener_is_back(stack: Stack, person: Person) -> None:
    async with person.live() as socket:
        closing = asyncio.create_task(until_closed(socket))
        stack.sql(
            """
            with gone as (delete from web_sessions where account_id = (select id from accounts where email = :email))
            select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'
            """,
            email=person.email,
        )
        ended = time.monotonic()
        at, _ = await closing

    assert at - ended < WITHIN
