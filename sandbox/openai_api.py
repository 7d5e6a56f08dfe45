"""A stand-in of Azure OpenAI's chat completions, for the vendor's own SDK.

The benchmarks measure against it, so it is a bare asyncio.Protocol: `python -m sandbox.openai_api --port 9000`, with
the key in CLOFY_OPENAI_API_KEY. Knobs and counts: GET, PATCH /control; POST /control/reset; GET /control/recent gives
the last requests (sandbox/openai_knobs.py says what each means).
"""

import argparse
import asyncio
import hashlib
import hmac
import os
import re
import secrets
import traceback
from collections import deque
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import orjson
import uvloop
from pydantic import ValidationError

from sandbox import openai_shapes as shapes
from sandbox.openai_knobs import Failure, Knobs, Stats
from sandbox.prose import tokens
from sandbox.telling import tell

MODEL = "gpt-4o-mini-2024-07-18"
AZURE_PATH = re.compile(r"/openai/(?:deployments/[\w.-]+|v1)/chat/completions")
LARGEST_BODY = 8 * 1024 * 1024
CONTEXT_WINDOW = 128_000  # tokens
BURST = 256  # tokens written at once when there is no gap, before we look whether the client keeps up
TIMER_GRAIN = 0.001  # seconds: uvloop's timers count in milliseconds, and may fire up to one early
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"


class Model:
    """What all connections share."""

    def __init__(self, key: str) -> None:
        self.key = key.encode()
        self.knobs, self.stats = Knobs(), Stats()
        self.recent: deque[dict[str, Any]] = deque(maxlen=50)

    def reset(self) -> None:
        """Knobs and counts as at the start; what is open stays counted."""
        self.knobs, self.stats = Knobs(), Stats(open=self.stats.open, peak=self.stats.open)
        self.recent.clear()

    def state(self) -> dict[str, Any]:
        return {"knobs": self.knobs.model_dump(), "stats": self.stats.model_dump()}


class Answer:
    """One answer on its way: paced by deadlines, stopped when the client goes."""

    def __init__(self, connection: "Connection", body: dict[str, Any], failure: Failure | None) -> None:
        model = connection.model
        self.connection, self.model, self.failure = connection, model, failure
        self.streamed = bool(body.get("stream"))
        messages = body["messages"]
        seed = hashlib.sha256(orjson.dumps(messages)).hexdigest()
        wanted = model.knobs.tokens if model.knobs.tokens is not None else 80 + int(seed[:8], 16) % 141
        limit = shapes.token_limit(body) or wanted
        self.pieces = tokens(shapes.question(messages), seed, min(wanted, limit))
        self.reason = "length" if limit < wanted else "stop"
        if self.pieces and self.reason == "stop":
            self.pieces[-1] = "."
        self.prompt_tokens = shapes.prompt_tokens(messages)
        self.end = len(self.pieces)
        if failure and failure.kind in {"cut", "hang", "answer_filter"}:
            self.end = min(self.end, failure.after)
        self.include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        if failure and failure.kind == "answer_filter":
            self.reason = "content_filter"
        self.completion = shapes.Completion(MODEL, include_usage=self.include_usage)
        self.gap = model.knobs.gap_ms / 1000
        self.loop = asyncio.get_running_loop()
        self.first_at = self.loop.time() + model.knobs.first_token_ms / 1000
        self.sent = -1  # -1: not even the head
        self.timer: asyncio.Handle | None = None

    def begin(self) -> None:
        stats = self.model.stats
        stats.open += 1
        stats.peak = max(stats.peak, stats.open)
        if not self.streamed:
            self._later(self.first_at + self.gap * max(0, self.end - 1), self._send_whole)
        elif self.model.knobs.first_token_ms:
            self._later(self.first_at, self.pump)
        else:
            self.pump()

    def pump(self) -> None:
        """Send what is due; called by the timer, and by the connection when the client reads again."""
        self._stop_timer()
        if self.connection.paused:
            return
        out: list[bytes] = []
        if self.sent < 0 and not self._silent_from_the_start():
            out += [STREAM_HEAD, self.connection.common_head(), _chunk(self.completion.opening())]
        self.sent = max(self.sent, 0)
        due = self.sent + BURST
        if self.gap:
            due = int((self.loop.time() - self.first_at + TIMER_GRAIN) / self.gap) + 1
        due = max(self.sent, min(due, self.end))
        out += [_chunk(self.completion.delta(piece)) for piece in self.pieces[self.sent : due]]
        self.model.stats.tokens += due - self.sent
        self.sent = due
        if self.sent == self.end and not self._fails_here():
            out.append(self._last_frames())
            self.connection.write(out)
            self._ended("completed")
        else:
            self.connection.write(out)
            if self.sent == self.end:
                self._fail()
            elif self.gap:
                self._later(self.first_at + self.sent * self.gap, self.pump)
            else:
                self.timer = self.loop.call_soon(self.pump)

    def abandoned(self) -> None:
        """The client closed the connection."""
        self._stop_timer()
        self.model.stats.open -= 1
        self.model.stats.aborted += 1

    def _last_frames(self) -> bytes:
        frames = [self.completion.finish(self.reason)]
        if self.include_usage and not (self.failure and self.failure.kind == "no_usage"):
            frames.append(self.completion.usage(self.prompt_tokens, self.end))
        return b"".join(_chunk(frame) for frame in [*frames, shapes.DONE]) + b"0\r\n\r\n"

    def _send_whole(self) -> None:
        if self._fails_here():
            self._fail()
            return
        self.model.stats.tokens += self.end
        text = "".join(self.pieces[: self.end])
        self.connection.respond(200, self.completion.whole(text, self.reason, self.prompt_tokens, self.end))
        self._ended("completed")

    def _fails_here(self) -> bool:
        return self.failure is not None and self.failure.kind in {"cut", "hang"}

    def _silent_from_the_start(self) -> bool:
        return self._fails_here() and self.end == 0

    def _fail(self) -> None:
        assert self.failure is not None
        if self.failure.kind == "cut":
            self._ended("failed")
            self.connection.close()
        # after "hang" it stays open until the client goes

    def _ended(self, how: str) -> None:
        self.model.stats.open -= 1
        setattr(self.model.stats, how, getattr(self.model.stats, how) + 1)
        self.connection.answer_ended()

    def _later(self, when: float, call: Any) -> None:
        self.timer = self.loop.call_at(when, call)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.parser = httptools.HttpRequestParser(self)
        self.answer: Answer | None = None
        self.paused = False
        self._begin_request()

    def _begin_request(self) -> None:
        self.url, self.headers, self.body = b"", dict[bytes, bytes](), list[bytes]()
        self.size = 0

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError:  # a fault of ours, which the parser has wrapped
            traceback.print_exc()
            self.close()
        except httptools.HttpParserError:
            self.close()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.answer is not None and self.answer.streamed and self.answer.sent < self.answer.end:
            self.answer.pump()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.answer is not None:
            self.answer.abandoned()
            self.answer = None

    # httptools's side

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= LARGEST_BODY:
            self.body.append(part)

    def on_message_complete(self) -> None:
        if self.answer is not None:  # no client of ours sends a second request before the first is answered
            self.close()
            return
        self.keep_alive = self.parser.should_keep_alive()
        url = urlsplit(self.url.decode("ascii", "replace"))
        method = self.parser.get_method().decode()
        body = b"".join(self.body)
        if url.path.startswith("/control"):
            self._control(method, url.path, body)
        elif method == "POST" and AZURE_PATH.fullmatch(url.path):
            self.model.stats.requests += 1
            self._complete(url.path, parse_qs(url.query), body)
        else:
            self.respond(404, shapes.error("404", "Resource not found"))
        self._begin_request()

    # our side

    def _complete(self, path: str, query: dict[str, list[str]], raw: bytes) -> None:
        refusal = self._refusal(path, query, raw)
        if refusal is not None:
            self.model.stats.refused += 1
            self.respond(*refusal)
            return
        body = orjson.loads(raw)
        failure = self.model.knobs.next_failure(shapes.question(body["messages"]))
        self.model.recent.append(body)
        if failure is not None:
            tell(f"model: {failure.kind} {failure.status if failure.kind == 'status' else ''} injected")
        if failure is not None and failure.kind == "status":
            self.model.stats.failed += 1
            self.respond(failure.status, *shapes.failure(failure.status, failure.retry_after))
        elif failure is not None and failure.kind == "prompt_filter":
            self.model.stats.failed += 1
            self.respond(400, shapes.prompt_filtered())
        else:
            self.answer = Answer(self, body, failure)
            self.answer.begin()

    def _refusal(self, path: str, query: dict[str, list[str]], raw: bytes) -> tuple[int, bytes] | None:
        """Why Azure would not take this request, if so."""
        given = self.headers.get(b"api-key") or self.headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(given, self.model.key):
            said = "Access denied due to invalid subscription key or wrong API endpoint."
            return 401, shapes.error("401", said)
        if "/deployments/" in path and "api-version" not in query:
            return 404, shapes.error("404", "Resource not found")
        if self.size > LARGEST_BODY:
            return 413, shapes.error("413", "The request is too large.")
        try:
            body = orjson.loads(raw)
            shapes.token_limit(body)
            messages = body["messages"]
            counted = shapes.prompt_tokens(messages)
            shapes.question(messages)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            said = "'messages' must be a list of at least one message, 'max_completion_tokens' a number above 0."
            return 400, shapes.error("invalid_request_error", said, type="invalid_request_error", param="messages")
        if counted > CONTEXT_WINDOW:
            said = f"This model's maximum context length is {CONTEXT_WINDOW} tokens, the messages have {counted}."
            return 400, shapes.error("context_length_exceeded", said, type="invalid_request_error", param="messages")
        return None

    def _control(self, method: str, path: str, raw: bytes) -> None:
        if path == "/control/reset" and method == "POST":
            self.model.reset()
        elif path == "/control/recent":
            self.respond(200, orjson.dumps(list(self.model.recent)))
            return
        elif method in {"POST", "PATCH"}:
            try:
                self.model.knobs = Knobs.model_validate(self.model.knobs.model_dump() | orjson.loads(raw or b"{}"))
            except (ValidationError, ValueError, TypeError) as error:
                self.respond(400, orjson.dumps({"error": str(error)}))
                return
        self.respond(200, orjson.dumps(self.model.state()))

    def common_head(self) -> bytes:
        """The end of each answer's head."""
        name = secrets.token_hex(16)
        end = "" if self.keep_alive else "connection: close\r\n"
        return f"x-request-id: {name}\r\napim-request-id: {name}\r\nx-ms-region: Sandbox\r\n{end}\r\n".encode()

    def respond(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.write([head.encode(), b"content-length: %d\r\n" % len(body), self.common_head(), body])
        if not self.keep_alive and self.answer is None:
            self.close()

    def write(self, parts: list[bytes]) -> None:
        if parts:
            self.transport.write(b"".join(parts))

    def answer_ended(self) -> None:
        self.answer = None
        if not self.keep_alive:
            self.close()

    def close(self) -> None:
        self.transport.close()


def _chunk(frame: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frame), frame)


async def serve(host: str, port: int, key: str) -> None:
    """Serve until cancelled."""
    model = Model(key)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(model), host, port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.host, arguments.port, os.environ["CLOFY_OPENAI_API_KEY"]))


if __name__ == "__main__":
    main()
