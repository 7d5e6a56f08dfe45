"""Bar 3: Redis forgets everything, goes away for 20 seconds, and comes back, while people ask."""

import asyncio

from tests.house import Stack
from tests.journeys.person import Person, text_of


async def test_fifty_questions_survive_a_redis_that_forgets_and_goes_away(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 50, "gap_ms": 30, "tokens": 40})
    workers = (stack.ai.pid, stack.default.pid)
    consultation = await person.begin()
    jobs: list[str] = []

    async def ask_for_a_while() -> None:
        for number in range(50):
            response = await person.ask(consultation, f"Question {number}: what should I do?")
            assert response.status_code == 202, response.text
            jobs.append(response.json()["job"])
            await asyncio.sleep(0.6)

    asking = asyncio.create_task(ask_for_a_while())
    await asyncio.sleep(2)
    with stack.redis() as redis:
        redis.flushall()
    await asyncio.sleep(1)
    await asyncio.to_thread(stack.valkey.stop)
    await asyncio.sleep(20)
    await asyncio.to_thread(stack.valkey.start)
    await asking

    ends = await asyncio.wait_for(asyncio.gather(*[person.until_ended(job) for job in jobs]), 90)

    assert [end["state"] for end in ends] == ["done"] * 50
    assert (stack.ai.pid, stack.default.pid) == workers
    assert stack.ai.running
    assert stack.default.running
    lines = (await person.get("/api/credits/entries"))["entries"]
    spent = sum(end["result"]["cost_mc"] for end in ends)
    assert len(lines) == 50  # a full page; the purchase is on the next one
    assert (await person.credits())["balance_mc"] == 500_000 - spent
    assert (await person.credits())["held_mc"] == 0
    events = await person.follow(await person.asked(consultation))  # and the wire is whole again
    assert events[-1]["type"] == "done"
    assert "delta" in [event["type"] for event in events]


async def test_a_frozen_redis_neither_fails_nor_delays_a_question(stack: Stack, person: Person) -> None:
    consultation = await person.begin()
    stack.freeze_redis()
    try:
        started = asyncio.get_running_loop().time()
        responses = await asyncio.gather(*[person.ask(consultation, f"Question {number}?") for number in range(20)])
        took = asyncio.get_running_loop().time() - started
    finally:
        stack.thaw_redis()

    assert [response.status_code for response in responses] == [202] * 20
    assert took < 2  # nothing waited for Redis: its shortest time-out is longer
    ends = await asyncio.wait_for(asyncio.gather(*[person.until_ended(one.json()["job"]) for one in responses]), 60)
    assert [end["state"] for end in ends] == ["done"] * 20


async def test_an_answer_that_redis_forgot_is_said_again_whole(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 30, "tokens": 60})
    consultation = await person.begin()
    job = await person.asked(consultation)
    await person.until_event(job, "delta")

    with stack.redis() as redis:
        redis.flushall()
    events = await person.follow(job)  # a reader who comes only now

    kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
    assert text_of(events) == kept[1]["text"]
