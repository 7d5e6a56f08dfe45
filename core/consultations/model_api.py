"""The model: Azure OpenAI's chat completions, streamed. The only importer of `openai`."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from uuid import UUID

import aiohttp
import httpx2
import openai
import orjson
from openai import AsyncAzureOpenAI

from core import secrets
from core.errors import ClofyError, Kind, Unavailable
from core.settings import Secret, settings

FIRST_BYTE = 30.0  # seconds to the first byte, and between two; a longer silence is a hang
STREAMS = 1000  # at once, in one process


class ModelBusy(Unavailable):
    """The model does not answer, or broke off."""

    def __init__(self, *, retry_after: float | None = None, **facts: object) -> None:
        super().__init__(**facts)
        self.retry_after = retry_after


class ModelRefused(ClofyError):
    """The model's host refuses our request; an operator has to look."""

    kind = Kind.CONFLICT


class PromptFiltered(ClofyError):
    """The model's content filter does not allow this question."""

    kind = Kind.INVALID


@dataclass
class Answer:
    """What has come of an answer so far."""

    parts: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def pieces(self) -> int:
        """How many pieces came: about one for each token."""
        return len(self.parts)


@cache
def client() -> AsyncAzureOpenAI:
    """One for each process, made on its loop. It retries nothing by itself: we would pay twice for a retried stream.

    Over aiohttp, which the SDK offers beside its own transport: a tenth less CPU for an answer (docs/decisions/0007).
    """
    return AsyncAzureOpenAI(
        azure_endpoint=settings().openai_endpoint,
        api_key=secrets.current(Secret.OPENAI_API_KEY),  # at first; each request brings the key of its hour
        api_version=settings().openai_api_version,
        max_retries=0,
        http_client=openai.DefaultAioHttpClient(
            follow_redirects=False,
            timeout=httpx2.Timeout(FIRST_BYTE, connect=5, pool=5),
            limits=httpx2.Limits(max_connections=STREAMS, max_keepalive_connections=STREAMS),
        ),
    )


async def close() -> None:
    if client.cache_info().currsize:
        await client().close()
        client.cache_clear()


def pseudonym(account_id: UUID) -> str:
    """What the model's host sees of a person: the same for all their questions, and nobody's name (security.md 100)."""
    return secrets.sign(account_id.bytes).hex()[:32]


async def stream(
    messages: list[dict[str, str]], *, max_tokens: int, account_id: UUID, answer: Answer
) -> AsyncGenerator[str]:
    """Ask the model; yields pieces of text, and fills `answer` as they come.

    max_tokens: of the answer, at most
    Raises ModelBusy (again later), PromptFiltered, ModelRefused. Closing the iterator ends the connection.
    """
    body: dict[str, Any] = {
        "messages": messages,
        "max_tokens": max_tokens,
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": pseudonym(account_id),
    }
    key = secrets.current(Secret.OPENAI_API_KEY)
    try:
        # As `extra_body`: the SDK walks through typed arguments word by word, which costs more than sending them.
        asked = client().chat.completions.with_streaming_response.create(
            model=settings().openai_deployment, messages=(), extra_body=body, extra_headers={"api-key": key}
        )
        async with asked as response:
            async for data in _events(response.iter_bytes()):
                if text := _take(data, answer):
                    yield text
    except openai.AuthenticationError as error:
        if await secrets.refreshed(Secret.OPENAI_API_KEY, refused=key):
            raise ModelBusy(status=error.status_code) from error  # the next attempt has the key that took its place
        raise _meaning(error) from error
    except openai.APIStatusError as error:
        raise _meaning(error) from error
    except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError) as error:  # the last: what is no HTTP
        raise ModelBusy(cause=type(error).__name__) from error
    if answer.finish_reason is None:
        raise ModelBusy(cause="cut")


async def _events(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of server-sent events. Lines end at LF alone: a text may have U+2028, where httpx's lines break."""
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _take(data: bytes, answer: Answer) -> str:
    """One event of the stream, read here and not by the SDK, which builds a tree of objects for each piece of text."""
    if data == b"[DONE]":
        return ""
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ModelBusy(cause="garbled") from error
    if "error" in chunk:
        raise ModelBusy(cause=str(chunk["error"].get("code", "error")))
    if usage := chunk.get("usage"):
        answer.prompt_tokens, answer.completion_tokens = usage["prompt_tokens"], usage["completion_tokens"]
    text = ""
    for choice in chunk.get("choices") or ():
        text += choice.get("delta", {}).get("content") or ""
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
    if text:
        answer.parts.append(text)
    return text


def _meaning(error: openai.APIStatusError) -> ClofyError:
    code = error.code or ""
    if code == "content_filter":
        return PromptFiltered()
    if error.status_code in (408, 409, 429) or error.status_code >= 500:
        return ModelBusy(status=error.status_code, retry_after=_seconds(error.response.headers.get("retry-after")))
    return ModelRefused(status=error.status_code, code=code)


def _seconds(header: str | None) -> float | None:
    try:
        return min(max(float(header or ""), 0.0), 300.0)
    except ValueError:
        return None
