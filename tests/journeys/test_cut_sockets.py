"""Bar 7: a socket is cut at 200 random points and taken up again, half of the times on another web process."""

import asyncio
import json
import random
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.house import Stack
from tests.journeys.person import Event, Person, text_of, to_the_end

ENDS = ("done", "failed", "cancelled")


async def follow_with_cuts(
    stack: Stack, person: Person, job: str, cuts: list[float], dice: random.Random
) -> list[Event]:
    """Read for each of these times, cut without a word, and come back with the last id that was read."""
    events: list[Event] = []
    for seconds in [*cuts, 60.0]:
        port = dice.choice(stack.web_ports)
        async with person.live(f"http://127.0.0.1:{port}") as socket:
            await socket.send(json.dumps({"watch": job, "after": events[-1]["id"] if events else ""}))
            try:
                async with asyncio.timeout(seconds):
                    while not events or events[-1]["type"] not in ENDS:
                        events.append(json.loads(await socket.recv()))
            except TimeoutError:
                pass
            socket.transport.abort()  # no closing handshake: the network is gone
        if events and events[-1]["type"] in ENDS:
            break
    return events


async def test_two_hundred_cuts_lose_nothing_and_double_nothing(stack: Stack, person: Person) -> None:
    dice = random.Random(20261124)
    stack.control(openai={"first_token_ms": 20, "gap_ms": 10, "tokens": 600})
    consultations = [await person.begin() for _ in range(10)]
    jobs = [await person.asked(one, "Tell me everything.") for one in consultations]
    plans = [[dice.uniform(0.0, 0.3) for _ in range(20)] for _ in jobs]

    followed = await asyncio.gather(
        *[follow_with_cuts(stack, person, job, cuts, dice) for job, cuts in zip(jobs, plans, strict=True)]
    )

    for job, consultation, events in zip(jobs, consultations, followed, strict=True):
        uncut = await person.follow(job)
        assert [(event["id"], event["type"], event["data"]) for event in events] == [
            (event["id"], event["type"], event["data"]) for event in uncut
        ]
        kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
        assert text_of(events) == kept[1]["text"]


async def test_web_processes_hold_no_connection_to_redis_for_a_socket(stack: Stack) -> None:
    """Forty-one sockets, of three people: one may have twenty."""
    async with AsyncExitStack() as open_ones:
        people = [await open_ones.enter_async_context(Person.at(stack)) for _ in range(3)]
        jobs = {}
        for person in people:
            await person.register()
            await person.buy("starter")
            await person.until_credits(500_000)
            jobs[person.email] = await person.asked(await person.begin())
            await person.until_ended(jobs[person.email])
        redis = open_ones.enter_context(stack.redis())
        first = await open_ones.enter_async_context(people[0].live())
        before = int(redis.info("clients")["connected_clients"])
        each = people[:2] * 13 + people[2:] * 14
        more = [(person, await open_ones.enter_async_context(person.live())) for person in each]
        for person, socket in [(people[0], first), *more]:
            await socket.send(json.dumps({"watch": jobs[person.email], "after": ""}))
            await to_the_end(socket)
        after = int(redis.info("clients")["connected_clients"])

    assert after <= before + 2  # the pools of commands may have grown; sockets have none of their own


async def test_a_socket_needs_our_origin_a_session_and_a_ticket_of_its_own(stack: Stack, person: Person) -> None:
    async with person.live():
        pass
    own = person.house.web_url
    for origin in ("https://evil.example", "null", own.replace("http", "https"), None):
        with pytest.raises(InvalidStatus, match="403"):
            await person.open_socket(origin=origin)
    with pytest.raises(InvalidStatus, match="403"):
        await person.open_socket(origin=own, cookies="")
    good = await person.ticket()
    socket = await person.open_socket(origin=own)
    await socket.send(json.dumps({"hello": good}))
    assert json.loads(await socket.recv()) == {"type": "hello"}
    await socket.close()
    for bad in (good, "made-up", ""):  # a ticket is good for one socket
        socket = await person.open_socket(origin=own)
        await socket.send(json.dumps({"hello": bad}))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_another_persons_job_is_not_to_be_watched(stack: Stack, person: Person) -> None:
    job = await person.asked(await person.begin())
    async with Person.at(stack) as stranger:
        await stranger.register()

        async with stranger.live() as socket:
            await socket.send(json.dumps({"watch": job, "after": ""}))
            refused = json.loads(await socket.recv())
        polled = await stranger.call("GET", f"/api/jobs/{job}/events")
        stopped = await stranger.call("DELETE", f"/api/jobs/{job}")

    assert (refused["type"], refused["data"]["code"]) == ("refused", "not-found")
    assert (polled.status_code, stopped.status_code) == (404, 404)


async def test_a_reader_who_does_not_read_ends_only_itself(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 1, "tokens": 700})
    consultation = await person.begin()
    job = await person.asked(consultation, "Tell me everything.")
    lazy = await person.open_socket(origin=person.house.web_url, hello=True, max_queue=1)
    lazy.transport.pause_reading()
    await lazy.send(json.dumps({"watch": job, "after": ""}))

    events = await person.follow(job)

    kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
    assert text_of(events) == kept[1]["text"]
    lazy.transport.abort()
