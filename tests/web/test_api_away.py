"""PostgreSQL goes away and comes back: whoever asks meanwhile is told so, and when to come again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from core.database import is_away, statement
from sandbox.postgres import Postgres, scratch_directory
from sandbox.processes import Child, free_port
from tests.house import MODULE, ROOT, House

SOME_SESSION = {"Cookie": "clofy=a-session-that-has-to-be-looked-up"}


class Office:
    """A web process with a PostgreSQL of its own; all else is the house's."""

    def __init__(self, house: House, directory: Path) -> None:
        self.postgres = Postgres(directory / "postgres")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        flags = f"--factory web.app:create_app --host 127.0.0.1 --port {port} --no-access-log"
        self.web = Child(
            "web",
            [*MODULE, "uvicorn", *flags.split()],
            log=directory / "web.log",
            environ=house.environ,
            directory=ROOT,
        )
        self.http = httpx.Client(base_url=self.url, timeout=20)

    def start(self) -> None:
        self.postgres.start()
        own = {"CLOFY_DATABASE_URL": self.postgres.url, "CLOFY_PUBLIC_URL": self.url}
        self.web.environ = os.environ | (self.web.environ or {}) | own
        migration = Child(
            "alembic",
            [*MODULE, "alembic", "upgrade", "head"],
            log=self.web.log,
            environ=self.web.environ,
            directory=ROOT,
        )
        with migration:
            assert migration.process is not None
            assert migration.process.wait(30) == 0, migration.last_words()
        self.web.start()
        self.web.wait_until(self._answers)

    def stop(self) -> None:
        self.http.close()
        self.web.stop()
        self.postgres.stop()

    def errors(self) -> list[str]:
        """The names of what the web process has logged as an error."""
        lines = [json.loads(line) for line in self.web.log.read_text().splitlines() if line.startswith("{")]
        return [line["event"] for line in lines if line["level"] == "error"]

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def office(house: House) -> Iterator[Office]:
    with scratch_directory() as directory:
        made = Office(house, directory)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def test_a_database_that_is_away_is_a_503_and_soon_forgotten(office: Office) -> None:
    assert office.http.get("/api/services").json() == {"services": []}  # a connection stands in the pool
    csrf = office.http.get("/api/session").json()["csrf_token"]

    office.postgres.stop()
    answers = [office.http.get("/api/services") for _ in range(3)]
    answers.append(
        office.http.post(
            "/api/session", json={"email": "ada@example.com", "password": "p" * 15}, headers={"X-CSRF-Token": csrf}
        )
    )
    with pytest.raises(InvalidStatus) as socket:
        connect(f"{office.url.replace('http', 'ws')}/live", origin=Origin(office.url), additional_headers=SOME_SESSION)
    page = office.http.get("/")
    alive, ready = office.http.get("/healthz"), office.http.get("/readyz")
    office.postgres.start()
    after = [office.http.get("/api/services").status_code for _ in range(3)]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) > 0
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert socket.value.response.status_code == 403
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert after == [200] * 3
    assert office.errors() == []  # a line that it was refused, no traceback for each request


async def test_a_fault_of_ours_is_not_taken_for_it(house: House) -> None:
    async with statement() as connection:
        with pytest.raises(DBAPIError) as wrong_value:
            await connection.execute(text("select cast(:n as int)"), {"n": 2**80})
        with pytest.raises(DBAPIError) as wrong_query:
            await connection.execute(text("select nothing from nowhere"))

    assert not is_away(wrong_value.value)
    assert not is_away(wrong_query.value)
