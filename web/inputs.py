"""What a request may carry: JSON as application/json, flat enough, and exactly the fields that a route declares."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import date
from functools import wraps
from typing import Annotated, Any, ClassVar, TypeVar, cast
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema
from pydantic import ValidationError as PydanticError
from quart import Request as QuartRequest
from quart import Response
from quart.asgi import ASGIHTTPConnection
from quart.globals import request_ctx
from quart.json.provider import JSONProvider
from quart_schema.validation import QUART_SCHEMA_REQUEST_ATTRIBUTE, DataSource, RequestSchemaValidationError
from werkzeug.exceptions import BadRequest, RequestTimeout, UnsupportedMediaType
from werkzeug.routing import Rule

from core.errors import InvalidInput

MAX_DEPTH = 20  # security.md 57
BODY_LIMIT = 64 * 1024  # bytes, where a route does not say otherwise
BODY_LIMIT_MARK = "clofy_body_limit"

STREAMED_MARK = "clofy_streamed"
CHUNK_TIME = 20  # seconds in which the next part of a streamed body must come

F = TypeVar("F", bound=Callable[..., Any])


class Input(BaseModel):
    """The declared fields of a request; any other field is refused, and nothing is converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _plain(text: str) -> str:
    """Refuse control characters, which no name or address has."""
    if any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise ValueError("must not contain control characters")
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_plain)]


def _iso_date(value: object) -> object:
    if not isinstance(value, str) or len(value) != 10:
        raise ValueError("must be a date as 2001-12-31")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("must be a date as 2001-12-31") from None


IsoDate = Annotated[date, BeforeValidator(_iso_date), WithJsonSchema({"type": "string", "format": "date"})]


def last_number(text: str | None, *, field: str = "after") -> int | None:
    """The `after` of a page whose rows are numbered; None at the beginning. Raises InvalidInput."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput(field=field, rule="must be the `next` of the page before")
    return int(text)


def last_id(text: str | None) -> UUID | None:
    """The `after` of a page whose rows are named by ids; None at the beginning. Raises InvalidInput."""
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidInput(field="after", rule="must be the `next` of the page before") from None


def takes(model: type[BaseModel]) -> Callable[[F], F]:
    """Read the JSON body as `model` and give it to the route as `data`; quart-schema documents it in /openapi.json.

    Does what quart-schema's own `validate_request` does, without building a validator for each request.
    """

    def decorator(function: F) -> F:
        setattr(function, QUART_SCHEMA_REQUEST_ATTRIBUTE, (model, DataSource.JSON))

        @wraps(function)
        async def read(*args: Any, **kwargs: Any) -> Any:
            try:
                data = model.model_validate(await request_ctx.request.get_json())
            except PydanticError as error:
                raise RequestSchemaValidationError(error) from error
            return await function(*args, data=data, **kwargs)

        return read  # type: ignore[return-value]  # the route without its `data`, as Quart calls it

    return decorator


def body_limit(limit: int) -> Callable[[F], F]:
    """Let a route whose path has no parameters take up to `limit` bytes instead of 64 KiB."""

    def decorator(function: F) -> F:
        setattr(function, BODY_LIMIT_MARK, limit)
        return function

    return decorator


def streamed(function: F) -> F:
    """For a route that takes its body by `arriving()` and keeps none of it. It counts the bytes itself."""
    setattr(function, STREAMED_MARK, True)
    return function


def arriving() -> AsyncIterator[bytes]:
    """The body of this request, as it comes in."""
    return cast("Request", request_ctx.request).arriving()


def pattern_of(rule: Rule) -> re.Pattern[str]:
    """What the paths of a route look like."""
    return re.compile(re.sub(r"<[^>]+>", "[^/]+", rule.rule))


def _fits(value: object, depth: int = 1) -> bool:
    """Whether the nesting is bounded and no text has a NUL, which PostgreSQL does not store."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        return depth <= MAX_DEPTH and all(_fits(key) and _fits(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return depth <= MAX_DEPTH and all(_fits(item, depth + 1) for item in value)
    return True


def parse_json(raw: bytes) -> Any:
    """Read a body; orjson itself refuses NaN, Infinity, lone surrogates and what is not UTF-8."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequest("The body is not JSON.") from None
    # Only a body with many brackets or an escaped NUL is walked through.
    if (b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH) and not _fits(value):
        raise BadRequest("The body has a NUL character or is nested too deeply.")
    return value


class Request(QuartRequest):
    """A request with a body limit of its route, and with JSON as nothing but application/json."""

    body_limits: ClassVar[dict[str, int]] = {}  # by path; filled by create_app()
    streamed_paths: ClassVar[tuple[re.Pattern[str], ...]] = ()  # the same

    def __init__(self, method: str, scheme: str, path: str, *args: Any, **kwargs: Any) -> None:
        self.is_streamed = any(one.fullmatch(path) for one in self.streamed_paths)
        self.receive: Any = None  # the server's, where the body is streamed
        kwargs["max_content_length"] = None if self.is_streamed else self.body_limits.get(path, BODY_LIMIT)
        super().__init__(method, scheme, path, *args, **kwargs)

    async def arriving(self) -> AsyncIterator[bytes]:
        """The body of a streamed request, as it comes in. What is not taken yet stays with the sender: the server reads
        no further, so that a large body is never in our memory.
        """
        if self.receive is None:  # a test client's, which is all there
            async for chunk in self.body:
                yield chunk
            return
        more = True
        while more:
            try:
                message = await asyncio.wait_for(self.receive(), CHUNK_TIME)
            except TimeoutError:
                raise RequestTimeout from None
            if message["type"] != "http.request":
                raise BadRequest("The body was cut off.")
            more = message.get("more_body", False)
            if message["body"]:
                yield message["body"]

    async def body_bytes(self) -> bytes:
        return await self.get_data(as_text=False, cache=True, parse_form_data=False)

    async def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002  # Quart's own signature
        if self._cached_json[False] is Ellipsis:
            if self.mimetype != "application/json":
                raise UnsupportedMediaType("The body must be application/json.")
            self._cached_json = {False: parse_json(await self.body_bytes()), True: None}
        return self._cached_json[False]


class Connection(ASGIHTTPConnection):
    async def handle_messages(self, request: Any, receive: Any) -> None:
        """Quart's own would read a body as fast as it comes, and keep it."""
        if not request.is_streamed:
            await super().handle_messages(request, receive)
            return
        request.receive = receive
        await asyncio.Event().wait()  # until it is cancelled, at the end of the request


def _other(value: object) -> str:
    """What orjson leaves to us: it knows UUID, and not the subclass that asyncpg reads."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def to_json(value: object) -> bytes:
    return orjson.dumps(value, default=_other, option=orjson.OPT_UTC_Z)


class OrjsonProvider(JSONProvider):
    """JSON by orjson: bytes out, dates and ids as they are."""

    def dumps(self, obj: Any, **_kwargs: Any) -> str:
        return to_json(obj).decode()

    def loads(self, s: str | bytes, **_kwargs: Any) -> Any:
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Any:
        return Response(to_json(self._prepare_response_obj(args, kwargs)), mimetype="application/json")
