"""Handing a mail to the server, in two steps, so that the moment at which it may have been accepted is known."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from functools import cache
from urllib.parse import unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from core import secrets
from core.errors import ClofyError, Kind, Unavailable
from core.mail.deliveries import OutcomeUnknown
from core.settings import Environment, Secret, settings

TIMEOUT = 15.0  # seconds, for each step of the conversation


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


def _judge(error: Exception) -> ClofyError:
    """A 5xx about this mail is for good; all else, a wrong password of ours too, may be better later."""
    if isinstance(error, SMTPResponseException):
        if 500 <= error.code < 600 and not isinstance(error, SMTPAuthenticationError):
            return MailRefused(smtp_code=error.code)
        return MailServerDown(smtp_code=error.code)
    return MailServerDown(reason=type(error).__name__)


@asynccontextmanager
async def envelope(message: EmailMessage) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Connect and have sender and recipient accepted; the body then calls what it is given to hand over the mail.

    Raises MailServerDown or MailRefused when it is sure that nothing was accepted, and OutcomeUnknown when the
    connection was lost while the mail was handed over.
    """
    sender = message["From"].addresses[0].addr_spec
    recipient = message["To"].addresses[0].addr_spec
    password = _password()
    client = _client(password)
    try:
        await client.connect()
        await client.mail(sender)
        await client.rcpt(recipient)
    except SMTPAuthenticationError as error:
        client.close()
        await secrets.refreshed(Secret.SMTP_PASSWORD, refused=password or "")  # for the next attempt
        raise _judge(error) from error
    except (SMTPException, OSError) as error:
        client.close()
        raise _judge(error) from error

    async def deliver() -> None:
        try:
            await client.data(message.as_bytes())
        except (SMTPServerDisconnected, SMTPTimeoutError, OSError) as error:
            raise OutcomeUnknown(reason=type(error).__name__) from error
        except SMTPException as error:
            raise _judge(error) from error

    try:
        yield deliver
    finally:
        client.close()
