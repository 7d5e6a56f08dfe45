"""The websocket /live: one for each tab, for all the jobs it watches. Plain ASGI, for it is the busiest route.

{"hello": ticket} first, then {"watch": job, "after": id} and {"unwatch": job};
events come as {"job", "id", "type", "data"}, and of the account as {"type": "notices", "data": {"unread"}}.
"""

import asyncio
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from uuid import UUID

import orjson
from quart import Blueprint, g
from quart.typing import ResponseReturnValue
from redis.exceptions import RedisError
from werkzeug.datastructures import Headers

from core import jobs, limits, streams
from core.accounts.web_sessions import FROM_LIVE, SignedIn, find_session, token_hash
from core.database import is_away
from core.direct import Hot, direct
from core.errors import ClofyError, NotFound, Unavailable
from core.jobs import Glimpse
from core.notices import inbox
from core.settings import settings
from core.streams import Event
from core.telemetry import log
from web import endings, places, security
from web.callers import client_ip
from web.hub import Hub, Watch, end_all
from web.openapi import answers
from web.session import signed_in
from web.shapes import Ticket
from web.sparing import Sparing

blueprint = Blueprint("live", __name__)

TICKET_SECONDS = 30
MOST_TICKETS = 300  # of an account within them: ten sockets on a bad line, each cut every second (bar 7 of issue 2)
HELLO_SECONDS = 10
LIFE_SECONDS = 4 * 3600  # the edge cuts at four hours (security.md 85); clients come back where they were
RECHECK_SECONDS = 30  # how late a session that has ended ends its sockets where web/endings.py did not hear of it
MOST_WATCHES = 20
MOST_WAITING = 2000  # events that a reader may be behind
MESSAGES_PER_SECOND = 20
SEND_SECONDS = 20

POLICY, TRY_AGAIN = 1008, 1013  # RFC 6455, 7.4.1, and IANA's registry

_TAKE = "local owner = redis.call('get', KEYS[1]); redis.call('del', KEYS[1]); return owner"

# Who is still signed in, and the job that they want to see: a watch stands between a question and its first word.
_WATCHED = Hot(
    f"select job.* from (select session.id {FROM_LIVE}) as alive left join ({jobs.GLIMPSE}) as job on true"  # noqa: S608  # both are ours
)


logger = log(__name__)
_full = Sparing()


class LiveUnavailable(Unavailable):
    """The live channel is not available at the moment; your answers come by polling meanwhile."""


@blueprint.post("/api/live-ticket")
@signed_in
@answers(Ticket, problems=(429,))
async def make_ticket() -> ResponseReturnValue:
    """A ticket for one socket, within 30 seconds, bound to this session."""
    ticket, count = secrets.token_urlsafe(24), f"tickets:{g.account.id}"
    try:
        async with hub().redis.pipeline(transaction=False) as pipe:
            pipe.set(f"ticket:{ticket}", str(g.account.session_id), ex=TICKET_SECONDS)
            pipe.incr(count)
            pipe.expire(count, TICKET_SECONDS, nx=True)
            _, made, _ = await pipe.execute()
            if made > MOST_TICKETS:
                await hub().redis.delete(f"ticket:{ticket}")
    except (RedisError, OSError) as error:
        raise LiveUnavailable from error
    if made > MOST_TICKETS:
        raise limits.TooManyTries(retry_after=TICKET_SECONDS)
    return {"ticket": ticket, "expires_in": TICKET_SECONDS}


_hub: list[Hub] = []


def hub() -> Hub:
    """The hub of this process; open while it serves."""
    return _hub[0]


async def open_hub() -> None:
    _hub[:] = [Hub()]
    hub().start()


async def close_hub() -> None:
    if _hub:
        await _hub.pop().close()


class Rejected(Exception):
    """The client broke a rule; its socket is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(eq=False)
class Socket:
    """One open socket. Reading never waits for writing: what is to be sent stands in a bounded outbox."""

    receive: Any
    send: Any
    token: str
    account: SignedIn
    outbox: deque[str] = field(default_factory=deque)
    work: asyncio.Event = field(default_factory=asyncio.Event)
    watches: dict[UUID, Watch] = field(default_factory=dict)
    slow: bool = False
    doubt: asyncio.Event = field(default_factory=asyncio.Event)  # whether the session still is one
    news: asyncio.Event = field(default_factory=asyncio.Event)  # the account's notices may have changed
    greeted: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        code, reason = 1000, ""
        parts = [asyncio.create_task(part) for part in (self._read(), self._write(), self._expire(), self._tell_news())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        except Rejected as rejected:
            code, reason = rejected.code, rejected.reason
        except (OSError, TimeoutError):
            code, reason = TRY_AGAIN, "too slow"
        except Exception as error:
            if not (isinstance(error, Unavailable) or is_away(error)):
                raise
            code, reason = TRY_AGAIN, "not now"
        finally:
            await end_all(parts)
            for watch in list(self.watches.values()):  # one that ends meanwhile leaves them
                await hub().unwatch(watch)
        with suppress(Exception):  # it may be gone already; servers raise each its own error then
            await asyncio.wait_for(self.send({"type": "websocket.close", "code": code, "reason": reason}), 2)

    def say(self, frame: str) -> None:
        if len(self.outbox) >= MOST_WAITING:
            self.slow = True  # it comes back with its last id, and reads what it missed from the stream
        else:
            self.outbox.append(frame)
        self.work.set()

    def deliver(self, watch: Watch, event: Event) -> None:
        self.say(f'{{"job":"{watch.job_id}",{event.body[1:].decode()}')
        if event.ends:
            self.watches.pop(watch.job_id, None)
            _later(hub().unwatch(watch))

    async def _write(self) -> None:
        while True:
            await self.work.wait()
            self.work.clear()
            if self.slow:
                raise Rejected(TRY_AGAIN, "too slow")
            while self.outbox:
                frame = {"type": "websocket.send", "text": self.outbox.popleft()}
                await asyncio.wait_for(self.send(frame), SEND_SECONDS)

    async def _expire(self) -> None:
        until = time.monotonic() + LIFE_SECONDS
        while time.monotonic() < until:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.doubt.wait(), RECHECK_SECONDS)
            self.doubt.clear()
            await self._recheck()
        raise Rejected(TRY_AGAIN, "come back")

    async def _recheck(self) -> None:
        account = await find_session(self.token, touch=False)
        if account is None:
            raise Rejected(POLICY, "signed out")
        self.account = account

    async def _tell_news(self) -> None:
        """How many notices are unread, each time that this may have changed."""
        await self.greeted.wait()
        while True:
            await self.news.wait()
            self.news.clear()
            async with direct() as unit:
                unread = await inbox.unread(unit, account_id=self.account.id)
            self.say(orjson.dumps({"type": "notices", "data": {"unread": unread}}).decode())

    async def _read(self) -> None:
        await self._hello()
        self.say('{"type":"hello"}')
        self.greeted.set()
        allowance, since = float(MESSAGES_PER_SECOND), time.monotonic()
        while (message := await _next_message(self.receive)) is not None:
            now = time.monotonic()
            allowance = min(allowance + (now - since) * MESSAGES_PER_SECOND, MESSAGES_PER_SECOND) - 1
            since = now
            if allowance < 0:
                raise Rejected(POLICY, "too many messages")
            await self._obey(message)

    async def _hello(self) -> None:
        try:
            message = await asyncio.wait_for(_next_message(self.receive), HELLO_SECONDS)
        except TimeoutError:
            raise Rejected(POLICY, "no hello") from None
        ticket = (message or {}).get("hello")
        if not isinstance(ticket, str) or len(ticket) > 64:
            raise Rejected(POLICY, "hello first")
        try:
            owner = await hub().redis.eval(_TAKE, 1, f"ticket:{ticket}")
        except (RedisError, OSError):
            raise Rejected(TRY_AGAIN, "not now") from None
        if owner is None or owner.decode() != str(self.account.session_id):
            raise Rejected(POLICY, "no such ticket")

    async def _obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"watch": str(job), **rest}:
                await self._watch(_job_id(job), rest.get("after", ""))
            case {"unwatch": str(job)}:
                if (watch := self.watches.pop(_job_id(job), None)) is not None:
                    await hub().unwatch(watch)
            case _:
                raise Rejected(POLICY, "unknown message")

    async def _watch(self, job_id: UUID, after: object) -> None:
        try:
            last = streams.parse_id(after if isinstance(after, str) else "?")
        except ValueError:
            raise Rejected(POLICY, "after must be an event id") from None
        if job_id in self.watches:
            return
        if len(self.watches) >= MOST_WATCHES:
            raise Rejected(POLICY, "too many watches")
        try:
            job = await self._glimpse(job_id)
        except NotFound as error:
            self.say(orjson.dumps({"job": str(job_id), "type": "refused", "data": {"code": error.code}}).decode())
            return
        watch = await hub().watch(job, last, self.deliver)
        if watch.ended:
            await hub().unwatch(watch)
        else:
            self.watches[job_id] = watch

    async def _glimpse(self, job_id: UUID) -> Glimpse:
        """The account's own job, while the session lasts. Raises Rejected when it has ended, NotFound."""
        facts = {
            "token_hash": token_hash(self.token),
            "id": job_id,
            "account_id": self.account.id,
        }
        async with direct() as unit:
            row = await _WATCHED.one(unit, **facts)
        if row is None:
            raise Rejected(POLICY, "signed out")
        if row[0] is None:
            raise NotFound(job=job_id)
        return jobs.glimpsed(*row)


_running: set[asyncio.Task[None]] = set()


def _later(work: Any) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)


def _job_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Rejected(POLICY, "not a job") from None


async def _next_message(receive: Any) -> dict[str, Any] | None:
    """The next message as an object; None when the client has gone."""
    frame = await receive()
    if frame["type"] == "websocket.disconnect":
        return None
    text = frame.get("text")
    if not isinstance(text, str):
        raise Rejected(POLICY, "text only")
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Rejected(POLICY, "not JSON") from None
    if not isinstance(message, dict):
        raise Rejected(POLICY, "not an object")
    return message


class LiveSockets:
    """Answers /live, and leaves all else to the application that it stands in front of."""

    def __init__(self, app: Any, site: security.Site) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        peer = (scope.get("client") or ("",))[0]
        network = _network(client_ip(settings().edge, headers, peer))
        try:
            with places.for_caller(network):
                await self._admit(scope, headers, receive, send)
        except places.Full as full:
            if times := _full.times(full.args):
                logger.warning("sockets_full", of=str(full), ip=network, times=times)
            await _refuse_for_now(scope, send)

    async def _admit(self, scope: Any, headers: Headers, receive: Any, send: Any) -> None:
        token = _cookie(headers, self.site.session_cookie)
        account = None
        try:
            if scope["path"] == "/live":
                security.check_target(self.site, headers, scope["path"], scope["query_string"])
                security.check_origin(self.site, headers, required=True)
                account = await find_session(token) if token else None
        except ClofyError:
            account = None
        except Exception as error:
            if not is_away(error):
                raise
            account = None  # a refused socket polls, and the poll is told what is the matter
        if account is None:
            await send({"type": "websocket.close", "code": POLICY})  # before it is accepted: the server answers 403
            return
        with places.place(f"account:{account.id}", places.MOST_OF_ACCOUNT):
            await send({"type": "websocket.accept"})
            socket = Socket(receive, send, token, account)
            with endings.held(account.session_id, socket.doubt.set), endings.held(account.id, socket.news.set):
                await socket.serve()


async def _refuse_for_now(scope: Any, send: Any) -> None:
    """Before the socket is accepted: 429 where the server can say it, else its 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": TRY_AGAIN})
        return
    later = [(b"retry-after", b"30"), (b"content-length", b"0")]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": later})
    await send({"type": "websocket.http.response.body", "body": b""})


def _network(ip: str) -> str:
    """Whose sockets are counted together; nobody's where no person can be told from another: on this machine."""
    network = limits.network(ip)
    return "" if network == "::1" or network.startswith("127.") else network


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie("; ".join(headers.getlist("Cookie"))).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
