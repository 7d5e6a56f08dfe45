"""What the model's host does wrong, and what people pay for it: nothing, unless they have got something."""

import asyncio
from typing import Any

import pytest

from tests.house import Stack
from tests.journeys.person import Event, Person, text_of

QUESTION = "How do I choose between two good offers?"


async def end_of(
    person: Person, consultation: str, job: str
) -> tuple[list[Event], dict[str, Any], list[dict[str, Any]]]:
    """The events, the generation as the page shows it, and the messages."""
    events = await person.follow(job)
    messages = (await person.get(f"/api/consultations/{consultation}"))["messages"]
    return events, messages[0]["generation"], messages


async def untouched(person: Person) -> bool:
    return (await person.credits())["balance_mc"] == (await person.credits())["available_mc"] == 500_000


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_model_is_asked_again(stack: Stack, person: Person, status: int) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 1, "fail": {"status": status, "times": 2, "retry_after": 1}})
    consultation = await person.begin()

    events, generation, messages = await end_of(person, consultation, await person.asked(consultation))

    assert [event["type"] for event in events if event["type"] in ("restarted", "done", "failed")] == [
        "restarted",
        "restarted",
        "done",
    ]
    assert text_of(events) == messages[1]["text"]
    assert generation["state"] == "done"
    assert stack.stats("openai")["requests"] == 3  # the SDK has not tried by itself


async def test_a_model_that_stays_away_costs_nothing(stack: Stack, person: Person) -> None:
    stack.control(openai={"fail": {"status": 503, "times": 0}})
    consultation = await person.begin()

    events, generation, messages = await end_of(person, consultation, await person.asked(consultation))

    assert events[-1]["type"] == "failed"
    assert events[-1]["data"]["reason"] == "model-busy"
    assert (generation["state"], generation["cost_mc"]) == ("failed", 0)
    assert len(messages) == 1
    assert await untouched(person)


async def test_an_answer_that_breaks_off_begins_again_visibly(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 2, "tokens": 40, "fail": {"kind": "cut", "after": 10}})
    consultation = await person.begin()

    events, generation, messages = await end_of(person, consultation, await person.asked(consultation))

    kinds = [event["type"] for event in events]
    assert kinds.index("delta") < kinds.index("restarted") < len(kinds) - 1
    assert text_of(events) == messages[1]["text"]
    assert generation["completion_tokens"] == 40
    assert 500_000 - (await person.credits())["balance_mc"] == generation["cost_mc"] > 0


async def test_a_question_that_the_filter_blocks_costs_nothing_and_says_so(stack: Stack, person: Person) -> None:
    stack.control(openai={"fail": {"kind": "prompt_filter"}})
    consultation = await person.begin()

    events, generation, _ = await end_of(person, consultation, await person.asked(consultation))

    assert events[-1]["data"]["result"]["end_reason"] == "content_filter"
    assert (generation["state"], generation["cost_mc"]) == ("filtered", 0)
    assert await untouched(person)


async def test_an_answer_that_the_filter_blocks_costs_nothing_and_is_not_kept(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 2, "fail": {"kind": "answer_filter", "after": 10}})
    consultation = await person.begin()

    _, generation, messages = await end_of(person, consultation, await person.asked(consultation))

    assert (generation["state"], generation["cost_mc"]) == ("filtered", 0)
    assert len(messages) == 1
    assert await untouched(person)


async def test_a_stream_without_usage_is_counted_by_us_and_marked(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 1, "tokens": 40, "fail": {"kind": "no_usage"}})
    consultation = await person.begin()

    _, generation, _ = await end_of(person, consultation, await person.asked(consultation))

    assert generation["usage_estimated"] is True
    assert generation["completion_tokens"] == 40
    assert generation["cost_mc"] > 0


async def test_a_stop_ends_the_stream_upstream_and_costs_what_was_said(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 20, "tokens": 500})
    consultation = await person.begin()
    job = await person.asked(consultation)
    await person.until_event(job, "delta")

    stopped = await person.call("DELETE", f"/api/jobs/{job}")
    events, generation, messages = await end_of(person, consultation, job)

    assert stopped.status_code == 202
    assert events[-1]["type"] == "cancelled"
    assert generation["state"] == "stopped"
    assert generation["usage_estimated"] is True
    assert 0 < generation["completion_tokens"] < 200
    assert messages[1]["text"] == text_of(events)
    assert 500_000 - (await person.credits())["balance_mc"] == generation["cost_mc"] > 0
    assert (await person.credits())["held_mc"] == 0
    await stack.until_upstream_is_quiet(seconds=2)
    assert stack.stats("openai")["aborted"] == 1


async def test_a_stop_before_the_first_word_costs_nothing(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 20_000})
    consultation = await person.begin()
    job = await person.asked(consultation)
    await person.until_event(job, "started")

    await person.call("DELETE", f"/api/jobs/{job}")
    events, generation, _ = await end_of(person, consultation, job)

    assert events[-1]["type"] == "cancelled"
    assert (generation["state"], generation["cost_mc"]) == ("stopped", 0)
    assert await untouched(person)


async def test_a_question_that_waits_is_stopped_at_once(stack: Stack, person: Person) -> None:
    await asyncio.to_thread(stack.ai.stop)
    try:
        consultation = await person.begin()
        job = await person.asked(consultation)

        stopped = await person.call("DELETE", f"/api/jobs/{job}")

        assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
        assert await untouched(person)
        assert [event["type"] for event in await person.follow(job)] == ["queued", "cancelled"]
    finally:
        await asyncio.to_thread(stack.start_worker, stack.ai)


async def test_a_stop_is_heard_without_redis(stack: Stack, person: Person) -> None:
    stack.control(openai={"first_token_ms": 10, "gap_ms": 50, "tokens": 500})
    consultation = await person.begin()
    job = await person.asked(consultation)
    await person.until_event(job, "delta")
    await asyncio.to_thread(stack.valkey.stop)
    try:
        await person.call("DELETE", f"/api/jobs/{job}")
        seen = await person.until_ended(job, seconds=15)
    finally:
        await asyncio.to_thread(stack.valkey.start)

    assert seen["state"] == "cancelled"


async def test_the_same_idempotency_key_asks_once(stack: Stack, person: Person) -> None:
    consultation = await person.begin()
    path = f"/api/consultations/{consultation}/messages"
    headers = {"Idempotency-Key": "one-click"}

    answers = await asyncio.gather(
        *[person.call("POST", path, json={"text": QUESTION}, headers=headers) for _ in range(10)]
    )
    other = await person.call("POST", path, json={"text": "Another."}, headers=headers)

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job"] for answer in answers}) == 1
    assert other.status_code == 409
    await person.until_ended(answers[0].json()["job"])
    assert len((await person.get(f"/api/consultations/{consultation}"))["messages"]) == 2


async def test_what_was_said_goes_along_with_the_next_question(stack: Stack, person: Person) -> None:
    consultation = await person.begin()
    first = await person.until_ended(await person.asked(consultation, "My cat is called Schrödinger. " * 20))

    second = await person.until_ended(await person.asked(consultation, "What is its name?"))

    assert second["result"]["prompt_tokens"] > first["result"]["prompt_tokens"] + 100


@pytest.mark.parametrize("text", ["", "   ", "x" * 4001, "a\u0000b", None, 7])
async def test_a_question_that_is_none_is_refused_with_its_field_and_holds_nothing(
    stack: Stack, person: Person, text: object
) -> None:
    consultation = await person.begin()

    refused = await person.call("POST", f"/api/consultations/{consultation}/messages", json={"text": text})

    assert refused.status_code == 400
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert await untouched(person)


@pytest.mark.parametrize(
    "text", ["Zażółć gęślą jaźń 🐈‍⬛", "\u202eright to left", "line\u2028separator\u0085next", "🧑‍🧑‍🧒‍🧒" * 100]
)
async def test_odd_unicode_comes_back_as_it_went(stack: Stack, person: Person, text: str) -> None:
    stack.control(openai={"first_token_ms": 5, "gap_ms": 0})
    consultation = await person.begin()

    events, _, messages = await end_of(person, consultation, await person.asked(consultation, text))

    assert messages[0]["text"] == text
    assert messages[1]["text"] == text_of(events)
    assert events[-1]["data"]["result"]["chars"] == len(messages[1]["text"])
