import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from core.mail import smtp
from core.mail.deliveries import OutcomeUnknown
from core.mail.render import render
from core.mail.smtp import MailRefused, MailServerDown, envelope
from core.settings import Environment
from sandbox.certificates import make_certificates
from sandbox.inbox import Inbox
from tests.core.mail.server import MailServer, use
from tests.core.mail.test_render import make_mail
from tests.house import House


async def hand_over(recipient: str = "ada@example.com") -> None:
    async with envelope(render(make_mail("receipt", recipient=recipient))) as deliver:
        await deliver()


async def test_a_mail_is_handed_over(mail_server: MailServer) -> None:
    await hand_over()

    (mail,) = mail_server.inbox.mails
    assert mail["to"] == ["ada@example.com"]
    assert mail["subject"] == "Your receipt from Clofy Cloud"
    assert "$5.00" in mail["text"]
    assert mail["headers"]["Auto-Submitted"] == "auto-generated"


async def test_an_envelope_without_a_mail_hands_nothing_over(mail_server: MailServer) -> None:
    async with envelope(render(make_mail("receipt"))):
        pass

    assert mail_server.inbox.mails == []


async def test_lines_arrive_as_they_were_written(mail_server: MailServer) -> None:
    text = ".\n..\n.QUIT\nBcc: all@example.com\n" + "long " * 400 + "\n.\nend"

    async with envelope(render(make_mail("announcement", text=text))) as deliver:
        await deliver()

    (mail,) = mail_server.inbox.mails
    assert text in mail["text"].replace("\r\n", "\n")
    assert mail["to"] == ["ada@example.com"]


async def test_a_recipient_that_is_not_there_is_refused_for_good(mail_server: MailServer) -> None:
    mail_server.inbox.knobs.refuse_recipients = ["*@bounce.example"]

    with pytest.raises(MailRefused) as refused:
        await hand_over("ada@bounce.example")

    assert refused.value.facts == {"smtp_code": 550}


async def test_a_server_that_says_later_is_tried_later(mail_server: MailServer) -> None:
    mail_server.inbox.knobs.refuse = 1

    with pytest.raises(MailServerDown):
        await hand_over()
    await hand_over()

    assert len(mail_server.inbox.mails) == 1


async def test_a_server_that_is_away_is_tried_later(mail_server: MailServer) -> None:
    await mail_server.stop()

    with pytest.raises(MailServerDown):
        await hand_over()


async def test_a_connection_lost_after_the_text_leaves_the_outcome_open(mail_server: MailServer) -> None:
    mail_server.inbox.knobs.drop = 1

    with pytest.raises(OutcomeUnknown):
        await hand_over()

    assert len(mail_server.inbox.mails) == 1


async def test_a_server_that_hangs_does_not_hold_us(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    use(monkeypatch, smtp_url=f"smtp://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setattr(smtp, "TIMEOUT", 0.2)

    with silent, pytest.raises(MailServerDown):
        await hand_over()


async def test_a_connection_is_given_back_when_the_text_is_not_wanted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, gone = list[bytes](), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while line := await reader.readline():
            heard.append(line)
            writer.write(b"452 4.3.1 Full\r\n" if line == b"DATA\r\n" else b"250 OK\r\n")
        gone.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    use(monkeypatch, smtp_url=f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        with pytest.raises(MailServerDown) as down:
            await hand_over()
        await asyncio.wait_for(gone.wait(), 2)

    assert (down.value.facts, heard[-1]) == ({"smtp_code": 452}, b"DATA\r\n")


async def test_production_never_speaks_in_clear(mail_server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, smtp_url=mail_server.url, environment=Environment.PRODUCTION)

    with pytest.raises(MailServerDown):
        await hand_over()

    assert mail_server.inbox.mails == []
    assert mail_server.inbox.stats.received == 0


def test_certificates_are_verified() -> None:
    context = smtp._verified()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@asynccontextmanager
async def behind_tls(directory: Path, *, whole: bool) -> AsyncIterator[tuple[int, Inbox, Path]]:
    """A mail server with a certificate of an authority that nobody knows: the whole connection, or from STARTTLS on."""
    files, inbox = make_certificates(directory, "127.0.0.1"), Inbox(directory / "inbox")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(inbox, hostname="mail.test", loop=loop, tls_context=None if whole else context)

    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if whole else None)
    yield server.sockets[0].getsockname()[1], inbox, files.authority
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("whole", [True, False])
async def test_production_takes_only_a_certificate_that_it_can_verify(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    async with behind_tls(tmp_path, whole=whole) as (port, inbox, authority):
        url = f"{'smtps' if whole else 'smtp'}://127.0.0.1:{port}"
        use(monkeypatch, smtp_url=url, environment=Environment.PRODUCTION)
        with pytest.raises(MailServerDown):
            await hand_over()
        before = list(inbox.mails)
        known = ssl.create_default_context(cafile=str(authority))
        monkeypatch.setattr(smtp, "_verified", lambda: known)

        await hand_over()

    assert before == []
    assert len(inbox.mails) == 1
