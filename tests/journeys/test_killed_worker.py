"""Bar 2: the AI worker is killed in mid-stream; every answer ends, and is charged once or not at all."""

import asyncio
import signal

from tests.house import Stack
from tests.journeys.person import Person, text_of


async def test_a_killed_worker_loses_no_answer_and_charges_none_twice(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 50, "gap_ms": 40, "tokens": 60})
    consultations = [await person.begin() for _ in range(20)]
    jobs = [await person.asked(one) for one in consultations]
    watching = [asyncio.create_task(person.follow(job)) for job in jobs]
    await asyncio.gather(*[person.until_event(job, "delta") for job in jobs])

    stack.ai.signal(signal.SIGKILL)
    stack.ai.stop()
    stack.start_worker(stack.ai)
    followed = await asyncio.wait_for(asyncio.gather(*watching), 60)

    spent = 0
    for consultation, events in zip(consultations, followed, strict=True):
        assert events[-1]["type"] == "done"
        result = events[-1]["data"]["result"]
        assert "restarted" in [event["type"] for event in events]
        kept = (await person.get(f"/api/consultations/{consultation}"))["messages"]
        assert [message["role"] for message in kept] == ["question", "answer"]
        assert kept[1]["text"] == text_of(events)
        spent += result["cost_mc"]
    assert await person.credits() == {
        "balance_mc": 500_000 - spent,
        "held_mc": 0,
        "available_mc": 500_000 - spent,
        "debt_mc": 0,
        "next_expiry": None,
    }
    lines = (await person.get("/api/credits/entries"))["entries"]
    assert len(lines) == 21  # each answer once, and the purchase


async def test_a_worker_that_is_asked_to_end_finishes_what_it_can(stack: Stack, person: Person) -> None:
    """Drain: SIGTERM lets short answers end, and gives long ones back; another worker takes them up."""
    stack.control(openai={"first_token_ms": 10, "gap_ms": 20, "tokens": 30})
    job = await person.asked(await person.begin())
    await person.until_event(job, "delta")

    await asyncio.to_thread(stack.ai.stop, seconds=30)
    stack.start_worker(stack.ai)
    events = await person.follow(job)

    assert events[-1]["type"] == "done"
    assert "restarted" not in [event["type"] for event in events]


async def test_what_runs_too_long_for_a_drain_goes_back_and_is_taken_up(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 100, "tokens": 60})
    stack.ai.environ = {**(stack.ai.environ or {}), "CLOFY_DRAIN_SECONDS": "1"}
    await asyncio.to_thread(stack.ai.stop)
    stack.start_worker(stack.ai)
    job = await person.asked(await person.begin())
    await person.until_event(job, "delta")
    stack.control(openai={"gap_ms": 5})

    await asyncio.to_thread(stack.ai.stop, seconds=20)
    stack.ai.environ = {**stack.ai.environ, "CLOFY_DRAIN_SECONDS": "20"}
    stack.start_worker(stack.ai)
    events = await person.follow(job)

    assert [event["type"] for event in events if event["type"] != "delta"] == ["queued", "started", "restarted", "done"]
    assert (await person.credits())["held_mc"] == 0
