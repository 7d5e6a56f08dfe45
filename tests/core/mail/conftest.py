from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.core.mail.server import MailServer, serve
from tests.house import House


@pytest.fixture
async def mail_server(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MailServer]:
    async with serve(tmp_path, monkeypatch) as server:
        yield server
