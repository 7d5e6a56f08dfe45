"""What Azure OpenAI's chat completions look like on the wire: chunks, whole answers, errors."""

import math
import secrets
import time
from typing import Any

import orjson

from sandbox.prose import count_tokens

CATEGORIES = ("hate", "self_harm", "sexual", "violence")
SAFE = {name: {"filtered": False, "severity": "safe"} for name in CATEGORIES}
FILTERED = SAFE | {"violence": {"filtered": True, "severity": "high"}}
PROMPT_SAFE = SAFE | {"jailbreak": {"filtered": False, "detected": False}}
PROMPT_FILTERED = FILTERED | {"jailbreak": {"filtered": False, "detected": False}}
DONE = b"data: [DONE]\n\n"
SPLIT = "\x00TOKEN\x00"


class Completion:
    """The frames of one answer. Everything but a token's text and time is put together once."""

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self.about = {
            "id": f"chatcmpl-{secrets.token_urlsafe(21)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "fp_sandbox",
        }
        self.usage_field: dict[str, Any] = {"usage": None} if include_usage else {}
        frame = self._frame([self._choice({"content": SPLIT}, SAFE, None)])
        self.before_text, rest = frame.split(orjson.dumps(SPLIT))
        self.after_text = rest.removesuffix(b"}\n\n") + b',"sent_ns":'

    def opening(self) -> bytes:
        """The frame on the prompt's filter, which has no choices, and the one that names the role."""
        prompt = {"prompt_index": 0, "content_filter_results": PROMPT_SAFE}
        first = {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [prompt]}
        role = {"content": "", "refusal": None, "role": "assistant"}
        return _event(first) + self._frame([self._choice(role, {}, None)])

    def delta(self, text: str) -> bytes:
        """One token; `sent_ns` (CLOCK_MONOTONIC, not a field of Azure's) lets a client on this host measure its way."""
        return b"%b%b%b%d}\n\n" % (self.before_text, orjson.dumps(text), self.after_text, time.monotonic_ns())

    def finish(self, reason: str) -> bytes:
        filtered = FILTERED if reason == "content_filter" else {}
        return self._frame([self._choice({}, filtered, reason)])

    def usage(self, prompt: int, answer: int) -> bytes:
        return _event(self._body([]) | {"usage": usage(prompt, answer)})

    def whole(self, text: str, reason: str, prompt: int, answer: int) -> bytes:
        """The answer to a request that did not ask for a stream."""
        message: dict[str, Any] = {"content": text, "refusal": None, "role": "assistant", "annotations": []}
        filtered = FILTERED if reason == "content_filter" else SAFE
        choice = {"index": 0, "finish_reason": reason, "logprobs": None, "message": message}
        body = self._body([choice | {"content_filter_results": filtered}], "chat.completion")
        prompt_results = [{"prompt_index": 0, "content_filter_results": PROMPT_SAFE}]
        return orjson.dumps(body | {"prompt_filter_results": prompt_results, "usage": usage(prompt, answer)})

    def _frame(self, choices: list[dict[str, Any]]) -> bytes:
        return _event(self._body(choices) | self.usage_field)

    def _body(self, choices: list[dict[str, Any]], kind: str = "chat.completion.chunk") -> dict[str, Any]:
        return {"choices": choices, "object": kind, **self.about}

    def _choice(self, delta: dict[str, Any], filtered: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {
            "content_filter_results": filtered,
            "delta": delta,
            "finish_reason": reason,
            "index": 0,
            "logprobs": None,
        }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def usage(prompt: int, answer: int) -> dict[str, Any]:
    details = {"accepted_prediction_tokens": 0, "audio_tokens": 0, "reasoning_tokens": 0}
    return {
        "completion_tokens": answer,
        "completion_tokens_details": details | {"rejected_prediction_tokens": 0},
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "total_tokens": prompt + answer,
    }


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    """As OpenAI counts a chat: each message costs three tokens more than its text, the answer's start three."""
    return 3 + sum(3 + count_tokens(text_of(message)) for message in messages)


def question(messages: list[dict[str, Any]]) -> str:
    """What was asked last."""
    return text_of(next((one for one in reversed(messages) if one.get("role") == "user"), messages[-1]))


def token_limit(body: dict[str, Any]) -> int | None:
    """The longest answer that the request allows; raises ValueError for what Azure refuses."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ValueError(limit)
    return limit


def text_of(message: dict[str, Any]) -> str:
    """A message's text, given as a string or in parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if isinstance(part, dict))


def error(code: str, message: str, **more: Any) -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message, **more}})


def failure(status: int, retry_after: float | None) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a refusal with `status`, as Azure words it."""
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers = {"retry-after": str(math.ceil(retry_after)), "retry-after-ms": str(int(retry_after * 1000))}
    if status == 429:
        headers["x-ratelimit-remaining-requests"] = headers["x-ratelimit-remaining-tokens"] = "0"
        said = "Requests to the ChatCompletions_Create Operation have exceeded the token rate limit."
        return error("429", f"{said} Please retry after {headers.get('retry-after', '1')} seconds."), headers
    if status == 503:
        return error(
            "503", "The service is temporarily unable to process your request. Please try again later."
        ), headers
    if status >= 500:
        return error("InternalServerError", "The server had an error while processing your request."), headers
    return error(str(status), "The request was refused."), headers


def prompt_filtered() -> bytes:
    said = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": PROMPT_FILTERED}
    return error("content_filter", said, type=None, param="prompt", status=400, innererror=inner)
