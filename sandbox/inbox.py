"""An SMTP server that keeps what it is given, and the pages and calls to read it: /inbox, GET /mail?to=."""

import asyncio
import email.policy
import fnmatch
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from html import escape
from pathlib import Path
from typing import Any

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, request

from sandbox.pages import page
from sandbox.stripe_store import new_id
from sandbox.telling import tell

Mail = dict[str, Any]
KEPT = 5000  # mails; the oldest go first
LONGEST_WAIT = 60  # seconds


class Knobs(BaseModel):
    """How the mail server behaves. Counts of 0 mean off, of -1 until reset.

    refuse: the next messages are refused for now (451), after their text was sent
    refuse_recipients: patterns, as "*@bounce.example", whose recipients are refused for good (550)
    delay_ms: before each answer to DATA
    drop: after the text of the next messages the connection is closed without an answer
    drop_keeps: whether a message dropped so was taken all the same
    """

    model_config = ConfigDict(extra="forbid")

    refuse: int = Field(default=0, ge=-1)
    refuse_recipients: list[str] = []
    delay_ms: float = Field(default=0, ge=0)
    drop: int = Field(default=0, ge=-1)
    drop_keeps: bool = True

    def use(self, name: str) -> bool:
        """Whether a counted knob is on, counting down."""
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left != 0


class Stats(BaseModel):
    received: int = 0
    refused: int = 0
    dropped: int = 0


class Inbox:
    """The mails, newest last, and the SMTP handler that takes them in."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "inbox.jsonl"
        self.mails: list[Mail] = []
        if self.file.exists():
            self.mails = [orjson.loads(line) for line in self.file.read_bytes().splitlines()[-KEPT:]]
        directory.mkdir(parents=True, exist_ok=True)
        self.knobs, self.stats = Knobs(), Stats()
        self.arrived = asyncio.Condition()

    def reset(self) -> None:
        """Knobs and counts as at the start; the mails stay."""
        self.knobs, self.stats = Knobs(), Stats()

    async def clear(self) -> None:
        self.mails.clear()
        self.file.unlink(missing_ok=True)

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if any(fnmatch.fnmatch(address.lower(), pattern.lower()) for pattern in self.knobs.refuse_recipients):
            self.stats.refused += 1
            return "550 5.1.1 The mailbox does not exist"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # the name that aiosmtpd calls
        if self.knobs.delay_ms:
            await asyncio.sleep(self.knobs.delay_ms / 1000)
        if self.knobs.use("refuse"):
            self.stats.refused += 1
            return "451 4.3.0 Not now, please try again later"
        assert isinstance(envelope.content, bytes)
        if self.knobs.use("drop"):
            self.stats.dropped += 1
            if self.knobs.drop_keeps:
                await self._keep(envelope, envelope.content)
            server.transport.abort()  # type: ignore[union-attr]
            return "421 4.3.2 Closed"
        await self._keep(envelope, envelope.content)
        return "250 2.0.0 Kept"

    async def _keep(self, envelope: Envelope, content: bytes) -> None:
        message = BytesParser(policy=email.policy.default).parsebytes(content)
        mail = {
            "id": new_id("mail", 12),
            "to": envelope.rcpt_tos,
            "from": envelope.mail_from,
            "subject": str(message.get("Subject", "")),
            "text": _part(message, "plain"),
            "html": _part(message, "html"),
            "headers": {name: str(value) for name, value in message.items()},
            "received_at": time.time(),
        }
        async with self.arrived:
            self.mails = [*self.mails[1 - KEPT :], mail]
            with self.file.open("ab") as file:
                file.write(orjson.dumps(mail) + b"\n")
            self.stats.received += 1
            self.arrived.notify_all()
        tell(f"mail to {', '.join(envelope.rcpt_tos)}: {mail['subject']}")

    def find(self, to: str | None, subject: str | None = None) -> list[Mail]:
        return [
            mail
            for mail in self.mails
            if (not to or to.lower() in (one.lower() for one in mail["to"]))
            and (not subject or subject.lower() in mail["subject"].lower())
        ]

    async def wait_for(self, look: Callable[[], list[Mail]], count: int, seconds: float) -> list[Mail]:
        """What `look` finds, as soon as there are `count`, or after `seconds` what there is."""
        try:
            async with asyncio.timeout(seconds), self.arrived:
                await self.arrived.wait_for(lambda: len(look()) >= count)
        except TimeoutError:
            pass
        return look()


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return str(body.get_content()) if body is not None else ""


async def listen(inbox: Inbox, port: int, *, host: str = "127.0.0.1") -> asyncio.Server:
    """The SMTP side."""
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(inbox, hostname="inbox.sandbox", ident="sandbox", enable_SMTPUTF8=True, loop=loop)

    return await loop.create_server(connection, host, port)


def blueprint(inbox: Inbox) -> Blueprint:
    """GET /mail?to=&subject=&count=&wait= waits until there are `count` (1); DELETE /mail; /inbox for people."""
    routes = Blueprint("inbox", __name__)

    @routes.get("/mail")
    async def mail() -> Response:
        to, subject = request.args.get("to"), request.args.get("subject")
        wait = min(float(request.args.get("wait", 0)), LONGEST_WAIT)
        count = int(request.args.get("count", 1))
        found = await inbox.wait_for(lambda: inbox.find(to, subject), count, wait) if wait else inbox.find(to, subject)
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return Response(_listing(found), content_type="text/html")
        return Response(orjson.dumps(found), content_type="application/json")

    @routes.delete("/mail")
    async def delete() -> Response:
        await inbox.clear()
        return Response("", 204)

    @routes.get("/inbox")
    async def listing() -> str:
        return _listing(inbox.find(request.args.get("to")))

    @routes.get("/inbox/<name>")
    async def one(name: str) -> Response:
        found = next((mail for mail in inbox.mails if mail["id"] == name), None)
        if found is None:
            return Response(page("No such mail", ""), 404)
        # The mail's own HTML is shown without scripts, forms or a way out of its frame.
        shown = f"<iframe sandbox srcdoc='{escape(found['html'])}'></iframe>" if found["html"] else ""
        about = f"<p>To {escape(', '.join(found['to']))}<br><small>{_time(found)}</small></p>"
        return Response(page(found["subject"], f"{about}{shown}<pre>{escape(found['text'])}</pre>"))

    return routes


def _listing(mails: list[Mail]) -> str:
    rows = [
        f"<tr><td><a href='/inbox/{mail['id']}'>{escape(mail['subject'] or '(no subject)')}</a><br>"
        f"<small>{escape(', '.join(mail['to']))}</small></td><td class=right><small>{_time(mail)}</small></td></tr>"
        for mail in reversed(mails)
    ]
    return page("Inbox", f"<table>{''.join(rows)}</table>" if rows else "<p>No mail yet.</p>")


def _time(mail: Mail) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(mail["received_at"]))
