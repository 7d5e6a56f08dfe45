"""The stand-in of Azure OpenAI, spoken to by the vendor's SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from sandbox.standins import StandIns

QUESTION = "How should I negotiate my salary?"


@pytest.fixture
async def knobs(control: httpx.AsyncClient) -> httpx.AsyncClient:
    await control.patch("/control", json={"openai": {"first_token_ms": 0, "gap_ms": 0, "tokens": 12}})
    return control


@pytest.fixture
async def model(standins: StandIns) -> AsyncIterator[openai.AsyncAzureOpenAI]:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=standins.openai_url, api_key=standins.openai_key, api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


async def ask(
    model: openai.AsyncAzureOpenAI, question: str = QUESTION, **more: Any
) -> tuple[list[str], str | None, Any]:
    """The deltas, the reason of the end, and the usage."""
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    stream: Any = await model.chat.completions.create(
        model="clofy-chat", messages=messages, stream=True, stream_options={"include_usage": True}, **more
    )
    deltas, reason, usage = [], None, None
    async for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                deltas.append(choice.delta.content)
            reason = choice.finish_reason or reason
        usage = chunk.usage or usage
    return deltas, reason, usage


async def stats(knobs: httpx.AsyncClient) -> dict[str, int]:
    told: dict[str, int] = (await knobs.get("/control")).json()["openai"]["stats"]
    return told


async def test_an_answer_streams_token_by_token_and_reports_what_it_used(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    deltas, reason, usage = await ask(model)

    assert len(deltas) == 12
    assert reason == "stop"
    assert usage.completion_tokens == 12
    assert usage.total_tokens == usage.prompt_tokens + 12


async def test_each_question_has_an_answer_of_its_own_always_the_same(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    await knobs.patch("/control", json={"openai": {"tokens": 100}})

    first, again = "".join((await ask(model))[0]), "".join((await ask(model))[0])
    other = "".join((await ask(model, "Where should our ledger live?"))[0])

    assert first == again
    assert first != other
    assert "ledger" in other


async def test_an_answer_ends_at_the_limit_that_the_request_sets(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    deltas, reason, usage = await ask(model, max_completion_tokens=5)

    assert len(deltas) == usage.completion_tokens == 5
    assert reason == "length"


async def test_the_frames_have_azures_shape(standins: StandIns, knobs: httpx.AsyncClient) -> None:
    body = {
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = f"{standins.openai_url}/openai/deployments/clofy-chat/chat/completions?api-version=2024-10-21"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, json=body, headers={"api-key": standins.openai_key})

    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    frames = [httpx.Response(200, text=line).json() for line in lines[:-1]]
    assert lines[-1] == "[DONE]"
    assert frames[0]["choices"] == []
    assert "prompt_filter_results" in frames[0]
    assert frames[1]["choices"][0]["delta"]["role"] == "assistant"
    assert all(frame["usage"] is None for frame in frames[1:-1])
    assert all(isinstance(frame["sent_ns"], int) for frame in frames[2:-2])
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1]["choices"] == []
    assert frames[-1]["usage"]["completion_tokens"] == len(frames) - 4


async def test_a_whole_answer_is_the_same_text(model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient) -> None:
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    whole = await model.chat.completions.create(model="clofy-chat", messages=messages)

    assert whole.choices[0].message.content == "".join((await ask(model))[0])


async def test_a_wrong_key_is_refused(standins: StandIns, knobs: httpx.AsyncClient) -> None:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=standins.openai_url, api_key="wrong", api_version="2024-10-21", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError):
            await ask(client)


async def test_a_busy_model_says_when_to_come_back_and_only_as_often_as_told(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"status": 429, "retry_after": 1.5, "times": 2}}})

    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(model)
        assert refused.value.response.headers["retry-after"] == "2"
        assert refused.value.response.headers["retry-after-ms"] == "1500"
    assert (await ask(model))[1] == "stop"


async def test_a_filtered_prompt_is_a_400_with_azures_code(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"kind": "prompt_filter"}}})

    with pytest.raises(openai.BadRequestError) as refused:
        await ask(model)

    assert refused.value.code == "content_filter"
    assert refused.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"  # type: ignore[index]


async def test_an_answer_may_be_filtered_in_its_middle(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"kind": "answer_filter", "after": 3}}})

    deltas, reason, usage = await ask(model)

    assert (len(deltas), reason, usage.completion_tokens) == (3, "content_filter", 3)


@pytest.mark.parametrize("after", [0, 3])
async def test_a_connection_may_be_cut(model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient, after: int) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"kind": "cut", "after": after}}})

    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        await ask(model)

    assert (await stats(knobs))["failed"] == 1


async def test_usage_may_be_missing(model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"kind": "no_usage"}}})

    assert (await ask(model))[1:] == ("stop", None)


async def test_a_failure_meets_only_the_question_that_it_is_for(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient
) -> None:
    await knobs.patch("/control", json={"openai": {"fail": {"status": 500, "match": "unlucky"}}})

    assert (await ask(model))[1] == "stop"
    with pytest.raises(openai.InternalServerError):
        await ask(model, "An unlucky question")


@pytest.mark.parametrize(
    "knob", [{"gap_ms": 10_000}, {"first_token_ms": 10_000}, {"fail": {"kind": "hang", "after": 2}}]
)
async def test_a_client_that_leaves_stops_the_model(
    model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient, knob: dict[str, Any]
) -> None:
    await knobs.patch("/control", json={"openai": knob})
    question = asyncio.create_task(ask(model))
    while (await stats(knobs))["open"] == 0:  # each look is a request, in which the question gets its turn
        pass

    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question

    async with asyncio.timeout(5):
        while (now := await stats(knobs))["open"]:
            pass
    assert (now["aborted"], now["completed"]) == (1, 0)


async def test_many_streams_keep_their_pace_together(model: openai.AsyncAzureOpenAI, knobs: httpx.AsyncClient) -> None:
    await knobs.patch("/control", json={"openai": {"gap_ms": 20, "tokens": 25}})
    loop = asyncio.get_running_loop()
    began = loop.time()

    answers = await asyncio.gather(*(ask(model, f"Question {number}") for number in range(40)))

    assert all(len(deltas) == 25 for deltas, _, _ in answers)
    assert loop.time() - began >= 24 * 0.020  # never faster than told
    assert (await stats(knobs))["peak"] > 1


async def test_a_knob_that_does_not_exist_is_refused(knobs: httpx.AsyncClient) -> None:
    assert (await knobs.patch("/control", json={"openai": {"speed": 1}})).status_code == 400
    assert (await knobs.patch("/control", json={"opanai": {}})).status_code == 400


async def test_what_is_no_chat_is_refused(standins: StandIns, model: openai.AsyncAzureOpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        await model.chat.completions.create(model="clofy-chat", messages=[])
