"""A database made of a copy: what is in it, who is not in it any more, and that nobody is let in before."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from core.consultations import conversation
from core.credits import ledger
from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import journal, restore, snapshots
from core.privacy.erasure_rows import erase_rows
from core.privacy.restore import NotTheSame
from core.privacy.snapshots import Manifest
from tests.core.privacy.test_snapshots import empty
from tests.house import MODULE, ROOT, House
from tests.web.account_kit import Owner
from tests.web.browser import PASSWORD
from tests.web.served import Served

pytestmark = pytest.mark.usefixtures("storage")
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
async def _no_copies() -> AsyncIterator[None]:
    await empty()
    yield
    await empty()
    await blobs.close()


class Fresh:
    """A database of its own on the house's server, to restore into."""

    def __init__(self, house: House) -> None:
        self.house, self.name = house, f"restored_{uuid4().hex[:12]}"
        self.url = f"{house.postgres.url.rpartition('/')[0]}/{self.name}"

    async def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for row in await connection.fetch(query, *values)]
        finally:
            await connection.close()

    async def cli(self, *more: str) -> tuple[int, str]:
        """`python -m cli restore` into it."""
        words = [*MODULE, "cli", "restore", "--into", self.url, *more]
        environ = self.house.environ
        done = await asyncio.to_thread(
            subprocess.run, words, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
async def fresh(house: House) -> AsyncIterator[Fresh]:
    here = Fresh(house)
    admin = await asyncpg.connect(house.postgres.url.replace("+asyncpg", ""))
    await admin.execute(f'create database "{here.name}"')
    yield here
    await admin.execute(f'drop database "{here.name}" with (force)')
    await admin.close()


async def somebody(words: str) -> Owner:
    """Who has bought, asked, and signed in."""
    owner = await Owner.made()
    async with transaction() as session:
        await ledger.grant(session, account_id=owner.id, amount_mc=50_000, source=f"test:{owner.id}", kind="grant")
        consultation = await conversation.begin(session, account_id=owner.id, service="general-advisor")
        message = uuid4()
        await session.execute(
            text(
                "insert into messages (id, consultation_id, role, said_on, bytes)"
                " values (:id, :of, 'question', :day, 9)"
            ),
            {"id": message, "of": consultation, "day": NOW.date()},
        )
        await session.execute(
            text("insert into message_texts (said_on, message_id, text) values (:day, :id, :words)"),
            {"day": NOW.date(), "id": message, "words": words},
        )
    return owner


async def erase(account_id: UUID) -> None:
    at = datetime.now(UTC)
    await journal.enter(account_id, at)
    async with transaction() as session:
        await erase_rows(session, account_id, now=at)


async def copied() -> Manifest:
    made = await snapshots.take(now=NOW)
    assert made is not None
    return made


async def sign_in(http: httpx.AsyncClient, email: str) -> int:
    csrf = (await http.get("/api/session")).json()["csrf_token"]
    answer = await http.post(
        "/api/session", json={"email": email, "password": PASSWORD}, headers={"X-CSRF-Token": csrf}
    )
    return answer.status_code


async def until_told(log: Path, event: str) -> None:
    async with asyncio.timeout(60):
        while not told(log, event):  # noqa: ASYNC110  # another process's log has no event of ours
            await asyncio.sleep(0.05)


def told(log: Path, event: str) -> bool:
    lines = log.read_text().splitlines() if log.exists() else []
    return any(json.loads(line).get("event") == event for line in lines if line.startswith("{"))


async def test_who_was_erased_is_gone_before_the_first_request_is_served(
    house: House, fresh: Fresh, tmp_path: Path
) -> None:
    gone, stays = await somebody("words of who goes"), await somebody("words of who stays")
    whole = await copied()
    await erase(gone.id)
    web = Served(house, tmp_path, CLOFY_DATABASE_URL=fresh.url)
    web.process.start()  # it looks at a database without tables, and waits
    try:
        await until_told(web.process.log, "start_waits_for_the_database")
        await restore.load(fresh.url, whole, now=NOW)  # as far as a restore that was killed here
        there = await fresh.ask("select email from accounts where id = $1", gone.id)
        async with httpx.AsyncClient(base_url=web.url, timeout=20) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/healthz")

            code, said = await fresh.cli()

            assert code == 0, said
            async with asyncio.timeout(60):
                while True:
                    try:
                        ready = await http.get("/readyz")
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.05)
            assert ready.status_code == 200
            assert await sign_in(http, gone.email) == 401
            assert await sign_in(http, stays.email) == 200
    finally:
        web.stop()

    assert there == [(gone.email,)]  # the copy did have them
    everything = await whole_database(fresh)
    assert gone.email not in everything
    assert "words of who goes" not in everything
    assert stays.email in everything
    assert "words of who stays" in everything


async def whole_database(fresh: Fresh) -> str:
    tables = await fresh.ask(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    found = []
    for (name,) in tables:
        found += [words for (words,) in await fresh.ask(f'select t::text from "{name}" t')]  # noqa: S608  # a name of ours
    return "\n".join(found)


# Other tests leave words without a message, which no restore brings back.
NOBODYS_WORDS = """
    delete from message_texts where not exists (select from messages where id = message_id)
        and not exists (select from canaries where id = message_id)
"""


async def test_what_was_restored_is_what_was_copied_but_for_who_was_signed_in(fresh: Fresh) -> None:
    owner = await somebody("words")
    async with transaction() as session:
        await session.execute(
            text(
                "insert into web_sessions (id, account_id, token_hash, user_agent, ip, expires_at)"
                " values (gen_random_uuid(), :id, :hash, 'a browser', '127.0.0.1', now() + interval '1 day')"
            ),
            {"id": owner.id, "hash": uuid4().bytes},
        )
        await session.execute(text(NOBODYS_WORDS))
    whole = await copied()

    await restore.load(fresh.url, whole, now=NOW)

    assert await fresh.ask("select 1 from web_sessions") == []
    for part in (*whole.tables, *whole.words):
        (row,) = await fresh.ask(snapshots.sum_of(part.name, part.columns, part.day))
        assert (part.name, *row) == (part.name, part.rows, part.sum)
    for name, last in whole.sequences:
        assert await fresh.ask("select last_value from pg_sequences where sequencename = $1", name) == [(last,)]
    # The next entry of the ledger gets the next number, and its rules are awake.
    await fresh.ask("select credits_take($1, 1000, 'test:after', 'correction')", owner.id)
    with pytest.raises(asyncpg.PostgresError):
        await fresh.ask("delete from credit_entries")


async def test_mails_that_may_have_been_sent_since_are_not_sent_again(fresh: Fresh, account_id: UUID) -> None:
    async with transaction() as session:
        await session.execute(
            text(
                "insert into mail_deliveries (key, account_id, recipient, template, facts) values"
                " (:key, :id, 'pat@people.example', 'test', '{}')"
            ),
            {"key": f"restore:{account_id}", "id": account_id},
        )
    whole = await copied()

    code, said = await fresh.cli("--at", str(whole.day))

    assert code == 0, said
    (row,) = await fresh.ask("select state, error from mail_deliveries where account_id = $1", account_id)
    assert row == ("failed", "restored")
    assert await fresh.ask("select 1 from jobs where task = 'mail.send' and state in ('queued', 'running')") == []


async def test_a_restore_that_breaks_off_leaves_an_empty_database_and_the_next_one_does_it(fresh: Fresh) -> None:
    whole = await copied()
    last = whole.tables[-1].blob
    kept = b"".join([chunk async for chunk in (await blobs.fetch(Room.SNAPSHOTS, last))[1]])
    await blobs.erase(Room.SNAPSHOTS, last)

    code, said = await fresh.cli()

    assert code == 1, said
    assert await fresh.ask("select 1 from pg_class where relnamespace = 'public'::regnamespace") == []
    await blobs.write(Room.SNAPSHOTS, last, _of(kept))
    code, said = await fresh.cli()
    assert code == 0, said


async def _of(whole: bytes) -> AsyncIterator[bytes]:
    yield whole


async def test_a_restore_that_was_killed_among_the_erasures_goes_on_with_the_others(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await somebody(f"words of {number}") for number in range(3)]
    whole = await copied()
    for one in people:
        await erase(one.id)
    await restore.load(fresh.url, whole, now=NOW)
    in_it = "select count(*) from accounts where id = any($1::uuid[]) and erased_at is null"
    dies = [*MODULE[:1], "-c", DIES_AFTER_ONE, "cli", "restore", "--into", fresh.url]
    environ = os.environ | fresh.house.settings
    killed = await asyncio.to_thread(subprocess.run, dies, cwd=ROOT, env=environ, capture_output=True, check=False)
    assert killed.returncode == -9, killed
    assert await fresh.ask(in_it, [one.id for one in people]) != [(0,)]
    assert await fresh.ask("select 1 from restores where ended_at is null") != []

    code, said = await fresh.cli()

    assert code == 0, said
    assert await fresh.ask(in_it, [one.id for one in people]) == [(0,)]
    assert await fresh.ask("select 1 from restores where ended_at is null") == []


DIES_AFTER_ONE = """
import os, runpy, signal, sys
from core.privacy import restore
erase_rows, done = restore.erase_rows, []
async def dies(session, account_id, *, now):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(account_id)
    return await erase_rows(session, account_id, now=now)
restore.erase_rows = dies
sys.argv = sys.argv[1:]
runpy.run_module("cli", run_name="__main__")
"""


async def test_nothing_is_written_over(house: House, fresh: Fresh) -> None:
    await copied()
    await fresh.ask("create table something (id int)")

    code, said = await fresh.cli()

    assert (code, "not-empty" in said) == (1, True), said


async def test_a_day_without_a_copy_is_told(fresh: Fresh) -> None:
    code, said = await fresh.cli("--at", "2001-02-03")

    assert (code, "no-snapshot" in said) == (1, True), said


async def test_rows_that_are_not_those_that_were_copied_are_noticed(fresh: Fresh) -> None:
    whole = await copied()
    changed = [
        snapshots.Part(part.name, part.blob, part.columns, part.rows, "17" if part.name == "services" else part.sum)
        for part in whole.tables
    ]

    with pytest.raises(NotTheSame):
        await restore.load(fresh.url, _with(whole, changed), now=NOW)

    assert await fresh.ask("select 1 from pg_class where relnamespace = 'public'::regnamespace") == []


def _with(whole: Manifest, tables: list[Any]) -> Manifest:
    return Manifest(whole.day, whole.taken_at, whole.revision, tuple(tables), whole.words, whole.sequences)


async def test_words_that_are_due_by_then_do_not_come_back(fresh: Fresh) -> None:
    await somebody("words of today")
    whole = await copied()

    await restore.load(fresh.url, whole, now=NOW + timedelta(days=29))
    assert await fresh.ask("select 1 from message_texts where text = 'words of today'") != []
    await fresh.ask("drop schema public cascade")
    await fresh.ask("create schema public")
    await restore.load(fresh.url, whole, now=NOW + timedelta(days=30))

    assert await fresh.ask("select 1 from message_texts") == []
    assert len(await fresh.ask("select 1 from messages")) > 0
