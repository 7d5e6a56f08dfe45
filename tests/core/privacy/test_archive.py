"""The archive: what gets in, what does not, when, and what is noticed afterwards."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core import audit
from core.audit import Action, Caller
from core.credits import ledger
from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.privacy import archive
from core.privacy.archive import NOTHING, Flaw, name_of
from tests import makers
from tests.house import MODULE, ROOT, House

pytestmark = pytest.mark.usefixtures("storage")
TODAY = datetime.now(UTC).date()
TOMORROW = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(days=1, minutes=20)


@pytest.fixture(autouse=True)
async def _no_archive() -> AsyncIterator[None]:
    await empty()
    yield
    await empty()
    await blobs.close()


async def empty() -> None:
    for day in await archive.days():
        await blobs.erase(Room.ARCHIVE, name_of(day))


async def _of(whole: bytes) -> AsyncIterator[bytes]:
    yield whole


async def put(day: date, whole: bytes) -> None:
    await blobs.write(Room.ARCHIVE, name_of(day), _of(whole))


async def raw(day: date) -> bytes:
    return b"".join([chunk async for chunk in (await blobs.fetch(Room.ARCHIVE, name_of(day)))[1]])


async def lines(day: date) -> list[dict[str, Any]]:
    return [json.loads(line) async for line in archive.lines_of(day)]


async def flaws() -> list[Flaw]:
    return [one async for one in archive.verify()]


async def something(account_id: UUID) -> str:
    """An entry of the ledger, by whose source it is found again."""
    source = f"test:{uuid4()}"
    async with transaction() as session:
        await ledger.grant(session, account_id=account_id, amount_mc=1, source=source, kind="grant")
    return source


async def archived_before(day: date) -> None:
    """As if the house had archived until the day before."""
    made = archive.Lines(NOTHING)
    before = day - timedelta(days=1)
    await put(before, made.make("end", json.dumps({"day": str(before), "lines": 0}).encode()))


async def test_a_day_is_archived_when_it_is_over_line_by_line(account_id: UUID) -> None:
    source = await something(account_id)
    await archived_before(TODAY)

    early = await archive.make_up(now=TOMORROW - timedelta(minutes=6))
    made = await archive.make_up(now=TOMORROW)

    assert early == []
    there = await lines(TODAY)
    assert [(one.day, one.lines, one.locked) for one in made] == [(TODAY, len(there), False)]
    (entry,) = [one["entry"] for one in there if one["entry"].get("source") == source]
    assert (entry["account_id"], entry["amount_mc"]) == (str(account_id), 1)
    assert there[-1]["entry"] == {"day": str(TODAY), "lines": len(there) - 1}


async def test_each_line_has_the_hash_of_the_one_before_over_midnight_too(account_id: UUID) -> None:
    await something(account_id)
    await archived_before(TODAY)

    await archive.make_up(now=TOMORROW + timedelta(days=1))

    whole = b"".join([await raw(TODAY + timedelta(days=n)) for n in (-1, 0, 1)]).splitlines()
    for before, line in pairwise(whole):
        assert json.loads(line)["previous"] == hashlib.sha256(before).hexdigest()
    assert await flaws() == []


async def test_days_that_were_missed_are_made_up_in_order_and_a_second_run_changes_nothing(account_id: UUID) -> None:
    await archived_before(TODAY - timedelta(days=3))

    made = await archive.make_up(now=TOMORROW)

    assert [one.day for one in made] == [TODAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    before = {day: await raw(day) for day in await archive.days()}
    await something(account_id)
    assert await archive.make_up(now=TOMORROW) == []
    assert {day: await raw(day) for day in await archive.days()} == before
    assert await flaws() == []


async def test_two_beats_do_no_harm(account_id: UUID) -> None:
    await something(account_id)
    await archived_before(TODAY - timedelta(days=2))

    await asyncio.gather(*[archive.make_up(now=TOMORROW) for _ in range(2)], return_exceptions=False)
    await archive.make_up(now=TOMORROW)

    assert (await archive.days())[-1] == TODAY
    assert await flaws() == []


async def test_what_is_written_by_who_began_before_midnight_is_not_lost(account_id: UUID) -> None:
    source = f"test:{uuid4()}"
    await archived_before(TODAY)
    async with transaction() as late:  # begun today, it ends when tomorrow has come
        await ledger.grant(late, account_id=account_id, amount_mc=1, source=source, kind="grant")

        assert await archive.make_up(now=TOMORROW) == []

    assert [one.day for one in await archive.make_up(now=TOMORROW)] == [TODAY]
    assert source in [one["entry"].get("source") for one in await lines(TODAY)]


async def test_no_words_and_nobodys_name_or_address_get_in(account_id: UUID) -> None:
    word = uuid4().hex
    async with transaction() as session:
        person = await makers.make_account(session, email=f"{word}@people.example")
        await session.execute(
            text("update accounts set name = :word, company = :word where id = :id"), {"word": word, "id": person}
        )
        consultation = await makers.make_consultation(session, person)
        message = uuid4()
        said = {"id": message, "of": consultation, "day": TODAY, "word": f"words {word}"}
        await session.execute(
            text(
                "insert into messages (id, consultation_id, role, said_on, bytes)"
                " values (:id, :of, 'question', :day, 9)"
            ),
            said,
        )
        await session.execute(
            text("insert into message_texts (said_on, message_id, text) values (:day, :id, :word)"), said
        )
        await session.execute(
            text(
                "insert into mail_deliveries (key, account_id, recipient, template, facts)"
                " values (:key, :id, :to, 'test', jsonb_build_object('name', cast(:word as text)))"
            ),
            {"key": f"test:{person}", "id": person, "to": f"{word}@people.example", "word": word},
        )
        for about in (f"{word}@people.example", f"address:{word}@people.example"):
            await audit.note(
                session,
                Action.EMAIL_CHANGE_ASKED,
                account_id=person,
                caller=Caller(ip=f"2001:db8::{word[:4]}", user_agent=f"Browser {word}", request_id="req"),
                about=about,
                facts={"from": f"{word}@people.example"},
            )
        await audit.note(session, Action.SIGNED_OUT, account_id=person, about=f"session:{message}")
    await archived_before(TODAY)

    await archive.make_up(now=TOMORROW)

    whole = (await raw(TODAY)).decode()
    assert word not in whole
    assert f"2001:db8::{word[:4]}" not in whole
    mine = [one for one in await lines(TODAY) if one["entry"].get("account_id") == str(person)]
    assert {one["of"] for one in mine} == {"audit_entries", "mail_deliveries"}
    assert [one["entry"]["object"] for one in mine if one["of"] == "audit_entries"] == ["", "", f"session:{message}"]


async def test_every_column_that_is_archived_was_chosen(house: House) -> None:
    """A new free text is not in the archive because somebody wrote `select *`."""
    assert all("*" not in query.replace("+$", "") for query in archive.SOURCES.values())


@pytest.mark.parametrize("changed", ["a figure", "taken out", "put in", "two swapped", "the end"])
async def test_a_line_that_was_tampered_with_is_found_and_named(house: House, account_id: UUID, changed: str) -> None:
    for _ in range(4):
        await something(account_id)
    await archived_before(TODAY)
    await archive.make_up(now=TOMORROW + timedelta(days=1))
    whole = (await raw(TODAY)).splitlines(keepends=True)
    at = next(n for n, line in enumerate(whole) if str(account_id).encode() in line)
    if changed == "a figure":
        whole[at] = whole[at].replace(b'"amount_mc":1', b'"amount_mc":9')
    elif changed == "taken out":
        del whole[at]
    elif changed == "put in":
        whole.insert(at, whole[at])
    elif changed == "two swapped":
        whole[at], whole[at + 1] = whole[at + 1], whole[at]
    else:
        del whole[-1]
    await put(TODAY, b"".join(whole))

    found = await flaws()

    assert found
    assert {one.day for one in found} == {TODAY}
    near = len(whole) if changed == "the end" else at + 1
    assert any(one.line in (near - 1, near, near + 1, 0) for one in found), (near, found)
    words = [*MODULE, "cli", "archive", "show", "--verify"]
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{TODAY} line {found[0].line}" in done.stderr or str(TODAY) in done.stderr


async def test_a_day_that_is_missing_is_named(account_id: UUID) -> None:
    await archived_before(TODAY - timedelta(days=3))
    await archive.make_up(now=TOMORROW)
    await blobs.erase(Room.ARCHIVE, name_of(TODAY - timedelta(days=2)))

    assert await flaws() == [Flaw(TODAY - timedelta(days=2), 0, "is missing")]


async def test_a_day_is_shown_as_it_is(house: House, account_id: UUID) -> None:
    source = await something(account_id)
    await archived_before(TODAY)
    await archive.make_up(now=TOMORROW)

    words = [*MODULE, "cli", "archive", "show", "--day", str(TODAY)]
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert source in done.stdout
    assert len(done.stdout.splitlines()) == len(await lines(TODAY))


@pytest.mark.parametrize(
    ("day", "goes"),
    [
        (date(2026, 11, 24), date(2027, 11, 25)),
        (date(2027, 11, 24), date(2028, 11, 24)),  # over a 29 February
        (date(2028, 2, 29), date(2029, 3, 1)),
        (date(2026, 10, 25), date(2027, 10, 26)),  # a night with an hour more, elsewhere
    ],
)
async def test_a_day_goes_once_its_last_moment_is_365_days_old(day: date, goes: date) -> None:
    await archived_before(day + timedelta(days=1))
    midnight = datetime.combine(goes, datetime.min.time(), UTC)

    assert await archive.forget(now=midnight - timedelta(microseconds=1)) == 0
    assert await archive.forget(now=midnight) == 1

    assert midnight - timedelta(days=365) == datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    assert await archive.days() == []
