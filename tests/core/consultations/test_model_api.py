"""What the model's client does with its connections, against a server that says how it was spoken to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

import orjson
import pytest

from core.consultations import model_api
from core.consultations.model_api import Answer, ModelBusy
from core.settings import settings
from tests.house import House

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def piece(text: str, finish: str | None = None) -> bytes:
    return chunk(orjson.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]}))


WHOLE = [HEAD, piece("Hello"), piece(" you", "stop"), chunk(b"[DONE]"), b"0\r\n\r\n"]
BEGUN = [HEAD, piece("Hello")]


@dataclass
class Model:
    """Answers each request with these parts, then leaves the connection open, or closes it."""

    parts: list[bytes] = field(default_factory=lambda: WHOLE)
    closes: bool = False
    opened: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # a connection, by either side

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.writelines(self.parts)
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.set()


@pytest.fixture
async def model(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Model]:
    made = Model()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    here = settings().model_copy(update={"openai_endpoint": url})
    monkeypatch.setattr(model_api, "settings", lambda: here)
    await model_api.close()  # one that speaks to another host
    yield made
    await model_api.close()
    server.close()


async def ask() -> str:
    answer = Answer()
    async for _ in model_api.stream([], max_tokens=9, account_id=UUID(int=1), answer=answer):
        pass
    return answer.text


async def test_one_connection_serves_one_answer_after_another(model: Model) -> None:
    assert [await ask() for _ in range(3)] == ["Hello you"] * 3
    assert model.opened == 1


async def test_a_connection_that_was_closed_meanwhile_is_opened_anew(model: Model) -> None:
    model.closes = True
    assert await ask() == "Hello you"
    async with asyncio.timeout(5):
        await model.ended.wait()
    await asyncio.sleep(0)

    assert await ask() == "Hello you"
    assert model.opened == 2


async def test_who_stops_listening_ends_the_connection_and_with_it_the_model(model: Model) -> None:
    model.parts = BEGUN
    asked = model_api.stream([], max_tokens=9, account_id=UUID(int=1), answer=Answer())
    async with aclosing(asked) as pieces:
        assert await anext(pieces) == "Hello"

    async with asyncio.timeout(5):
        await model.ended.wait()


async def test_who_is_cancelled_while_the_model_is_silent_ends_the_connection(model: Model) -> None:
    model.parts = [HEAD]
    asking = asyncio.create_task(ask())
    while not model.opened:  # noqa: ASYNC110  # the server has no event for it
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async with asyncio.timeout(5):
        await model.ended.wait()


@pytest.mark.parametrize("parts", [[], [HEAD], BEGUN], ids=["no word", "no event", "half an answer"])
async def test_a_model_that_falls_silent_is_busy(
    model: Model, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]
) -> None:
    monkeypatch.setattr(model_api, "FIRST_BYTE", 0.1)
    model.parts = parts

    async with asyncio.timeout(5):
        with pytest.raises(ModelBusy):
            await ask()


@pytest.mark.parametrize(
    "parts",
    [[], [HEAD], BEGUN, [*BEGUN, b"4\r\nda"], [*BEGUN, b"zz\r\n"], [b"nonsense\r\n\r\n"]],
    ids=["no word", "no event", "half an answer", "half an event", "no chunk", "no HTTP"],
)
async def test_a_model_that_breaks_off_is_busy(model: Model, parts: list[bytes]) -> None:
    model.parts, model.closes = parts, True

    with pytest.raises(ModelBusy):
        await ask()


async def test_a_model_that_is_not_there_is_busy(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    here = settings().model_copy(update={"openai_endpoint": "http://127.0.0.1:1"})
    monkeypatch.setattr(model_api, "settings", lambda: here)

    with pytest.raises(ModelBusy):
        await ask()
