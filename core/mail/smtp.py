"""Handing a mail to the server in two steps, so that the moment at which it may have been accepted is known."""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from functools import cache
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from core import secrets
from core.errors import ClofyError, Kind, Unavailable
from core.mail.deliveries import OutcomeUnknown
from core.settings import Environment, Secret, settings

TIMEOUT = 15.0  # seconds, for each step of the conversation but the last
LONGEST = timedelta(minutes=10)  # that a server may take over the last dot (RFC 5321, 4.5.3.2.6)


class MailServerDown(Unavailable):
    """The mail server does not answer, or asks to come back later."""


class MailRefused(ClofyError):
    """The mail server refuses this mail for good."""

    kind = Kind.INVALID


@cache
def _verified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _password() -> str | None:
    """None if the mail server asks for none."""
    return secrets.current(Secret.SMTP_PASSWORD) if urlsplit(settings().smtp_url).username else None


def _client(password: str | None) -> SMTP:
    url = urlsplit(settings().smtp_url)
    whole_tls = url.scheme == "smtps"
    plain_allowed = settings().environment is Environment.SANDBOX  # on one machine; never in production
    return SMTP(
        hostname=url.hostname,
        port=url.port or (465 if whole_tls else 587),
        username=unquote(url.username) if url.username else None,
        password=password,
        use_tls=whole_tls,
        start_tls=not (whole_tls or plain_allowed),
        tls_context=_verified() if whole_tls or not plain_allowed else None,
        timeout=TIMEOUT,
    )


def _judge(error: Exception) -> MailServerDown:
    """What may be better later: all but a refusal of this mail, a wrong password or sender of ours too."""
    if isinstance(error, SMTPResponseException):
        return MailServerDown(smtp_code=error.code)
    return MailServerDown(reason=type(error).__name__)


def _is_for_good(code: int) -> bool:
    return 500 <= code < 600


def _quoted(message: EmailMessage) -> bytes:
    """As it is sent after DATA: lines end with CR LF, and one that begins with a dot has another before it."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", message.as_bytes())
    lines = lines if lines.endswith(b"\r\n") else lines + b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines)


@asynccontextmanager
async def envelope(message: EmailMessage) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Hand a mail over but for its last dot; the body then calls what it is given to send that, and hear the answer.

    Until the dot nothing is accepted (RFC 5321, 4.1.1.4), so that what is written down before the dot is known to be
    true, and the outcome is open for no longer than the server takes to answer it.
    Raises MailServerDown or MailRefused when it is sure that nothing was accepted, and OutcomeUnknown when the
    connection was lost after the dot.
    """
    password = _password()
    client = _client(password)

    async def deliver() -> None:
        if not client.is_connected:  # the dot was never sent
            raise MailServerDown(reason="lost before the dot")
        try:
            answer = await client.execute_command(b".", timeout=LONGEST.total_seconds())
        except (SMTPException, OSError) as error:
            raise OutcomeUnknown(reason=type(error).__name__) from error
        if _is_for_good(answer.code):
            raise MailRefused(smtp_code=answer.code)
        if answer.code != 250:
            raise MailServerDown(smtp_code=answer.code)

    try:
        await _up_to_the_dot(client, message, password)
        yield deliver
    finally:
        client.close()


async def _up_to_the_dot(client: SMTP, message: EmailMessage, password: str | None) -> None:
    try:
        await client.connect()
        await client.mail(message["From"].addresses[0].addr_spec)
        await _recipient(client, message["To"].addresses[0].addr_spec)
        await _text(client, _quoted(message))
    except SMTPAuthenticationError as error:
        await secrets.refreshed(Secret.SMTP_PASSWORD, refused=password or "")  # for the next attempt
        raise _judge(error) from error
    except (SMTPException, OSError) as error:
        raise _judge(error) from error


async def _recipient(client: SMTP, recipient: str) -> None:
    try:
        await client.rcpt(recipient)
    except SMTPRecipientRefused as error:
        if _is_for_good(error.code):
            raise MailRefused(smtp_code=error.code) from error
        raise


async def _text(client: SMTP, text: bytes) -> None:
    answer = await client.execute_command(b"DATA")
    if answer.code != 354:
        raise MailServerDown(smtp_code=answer.code)
    if client.protocol is None:
        raise SMTPServerDisconnected("lost before the text")
    client.protocol.write(text)
