"""PostgreSQL goes away and comes back: whoever asks meanwhile is told so, and when to come again."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from core.database import is_away, statement
from sandbox.postgres import Postgres, scratch_directory
from tests.house import MODULE, ROOT, House
from tests.web.served import Served

SOME_SESSION = {"Cookie": "clofy=a-session-that-has-to-be-looked-up"}


@dataclass
class Office:
    """A web process with a PostgreSQL of its own; all else is the house's."""

    postgres: Postgres
    web: Served


@pytest.fixture(scope="module")
def office(house: House) -> Iterator[Office]:
    with scratch_directory() as directory, Postgres(directory / "postgres") as postgres:
        web = Served(house, directory, CLOFY_DATABASE_URL=postgres.url)
        migrate = [*MODULE, "alembic", "upgrade", "head"]
        subprocess.run(migrate, cwd=ROOT, env=web.environ, check=True, capture_output=True)
        try:
            web.start()
            yield Office(postgres, web)
        finally:
            web.stop()


def test_a_database_that_is_away_is_a_503_and_soon_forgotten(office: Office) -> None:
    assert office.web.http.get("/api/services").json() == {"services": []}  # a connection stands in the pool
    csrf = office.web.http.get("/api/session").json()["csrf_token"]

    office.postgres.stop()
    answers = [office.web.http.get("/api/services") for _ in range(3)]
    answers.append(office.web.http.get("/api/credits", headers=SOME_SESSION))
    answers.append(
        office.web.http.post(
            "/api/session", json={"email": "ada@example.com", "password": "p" * 15}, headers={"X-CSRF-Token": csrf}
        )
    )
    with pytest.raises(InvalidStatus) as socket:
        connect(
            f"{office.web.url.replace('http', 'ws')}/live",
            origin=Origin(office.web.url),
            additional_headers=SOME_SESSION,
        )
    page = office.web.http.get("/")
    alive, ready = office.web.http.get("/healthz"), office.web.http.get("/readyz")
    office.postgres.start()
    looked_up = office.web.http.get("/api/credits", headers=SOME_SESSION)
    after = [office.web.http.get("/api/services").status_code for _ in range(3)]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "unavailable"
        assert int(answer.headers["Retry-After"]) > 0
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert socket.value.response.status_code == 403
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert looked_up.status_code == 401
    assert after == [200] * 3
    assert office.web.errors() == []  # a line that it was refused, no traceback for each request


async def test_a_fault_of_ours_is_not_taken_for_it(house: House) -> None:
    async with statement() as connection:
        with pytest.raises(DBAPIError) as wrong_value:
            await connection.execute(text("select cast(:n as int)"), {"n": 2**80})
        with pytest.raises(DBAPIError) as wrong_query:
            await connection.execute(text("select nothing from nowhere"))

    assert not is_away(wrong_value.value)
    assert not is_away(wrong_query.value)
