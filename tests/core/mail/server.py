"""The sandbox's mail server on the test's own loop, and our settings pointed at it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from core import secrets
from core.mail import smtp
from core.settings import Settings, settings
from sandbox.inbox import Inbox


@dataclass
class MailServer:
    inbox: Inbox
    url: str
    server: asyncio.Server

    async def stop(self) -> None:
        self.server.close()
        await self.server.wait_closed()


@asynccontextmanager
async def serve(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailServer]:
    inbox = Inbox(directory / "inbox")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(inbox, hostname="mail.test", loop=loop), "127.0.0.1", 0)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    use(monkeypatch, smtp_url=url)
    running = MailServer(inbox, url, server)
    yield running
    await running.stop()


def use(monkeypatch: pytest.MonkeyPatch, **changes: object) -> Settings:
    changed = settings().model_copy(update=changes)
    for module in (smtp, secrets):
        monkeypatch.setattr(module, "settings", lambda: changed)
    return changed
