"""Exactly what is due goes, once: at the moment of its term and not before, whoever stops or repeats the purge.

All of it is in the past, so that the rows of other tests are not due.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.direct import close_connections
from core.privacy import books, canaries, holds, purge
from core.privacy.canaries import PLANTS
from core.privacy.purge_models import Canary, HeldText
from core.privacy.tables import TABLES
from core.replays import KeptAnswer
from tests.house import ROOT, House
from tests.makers import make_account, make_consultation

pytestmark = pytest.mark.usefixtures("storage")  # where blobs are looked for
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
TERMS = {
    "message_texts": timedelta(days=30),
    "kept_answers": timedelta(days=1),
    "audit_entries": timedelta(days=365),
    "mail_deliveries": timedelta(days=365),
    "legal_holds": timedelta(days=731),
}
BERLIN = ZoneInfo("Europe/Berlin")


async def put(place: str, at: datetime) -> Canary:
    """A row of nobody's in a table, as if written then."""
    how, one = PLANTS[place], Canary(id=uuid4(), place=place, planted_at=at, due_at=canaries.due_at(place, at))
    facts = canaries._facts(one)
    async with transaction() as session:
        if place == "message_texts":
            await session.execute(text("select prepare_message_partitions(:day, :day)"), {"day": facts["day"]})
        await session.execute(text(f"insert into {place} {how.row}"), canaries._used(how.row, facts))
    return one


async def is_there(one: Canary) -> bool:
    how = PLANTS[one.place]
    async with transaction() as session:
        query = f"select 1 from {one.place} where {how.found}"  # noqa: S608  # of our own words
        return bool(await session.scalar(text(query), canaries._used(how.found, canaries._facts(one))))


async def answers(session: AsyncSession, account_id: UUID) -> int:
    mine = select(func.count()).select_from(KeptAnswer).where(KeptAnswer.account_id == account_id)
    return (await session.execute(mine)).scalar_one()


async def keep_answers(account_id: UUID, count: int, at: datetime) -> None:
    rows = [
        {"account_id": account_id, "key": f"{at}-{number}", "request_hash": b"", "answer": {}, "created_at": at}
        for number in range(count)
    ]
    async with transaction() as session:
        await session.execute(insert(KeptAnswer), rows)


async def say(account_id: UUID, at: datetime, words: str) -> UUID:
    message_id, day = uuid4(), at.date()
    async with transaction() as session:
        await session.execute(text("select prepare_message_partitions(:day, :day)"), {"day": day})
        consultation = await make_consultation(session, account_id)
        facts = {"id": message_id, "consultation": consultation, "day": day, "words": words}
        await session.execute(
            text("insert into messages (id, consultation_id, role, said_on, bytes) values"
                 " (:id, :consultation, 'question', :day, 1)"),
            {name: facts[name] for name in ("id", "consultation", "day")},
        )  # fmt: skip
        row = text("insert into message_texts (said_on, message_id, text) values (:day, :id, :words)")
        await session.execute(row, {name: facts[name] for name in ("id", "day", "words")})
    return message_id


async def words_of(message_id: UUID) -> tuple[str | None, str | None]:
    """As people have them, and as a hold keeps them."""
    async with transaction() as session:
        said = await session.scalar(text("select text from message_texts where message_id = :id"), {"id": message_id})
        return said, await session.scalar(select(HeldText.text).where(HeldText.message_id == message_id))


def test_what_is_put_has_the_terms_that_were_promised(house: House) -> None:
    """Written out here, so that nobody changes one without being asked."""
    assert {place: canaries._ends(place).after for place in PLANTS} == TERMS


@pytest.mark.parametrize("place", PLANTS)
@pytest.mark.parametrize(
    "written",
    [
        datetime(2020, 1, 30, tzinfo=UTC),  # thirty days later is the leap day
        datetime(2019, 3, 1, tzinfo=UTC),  # 365 days later is the leap day, a year later is not
        datetime(2019, 2, 28, tzinfo=UTC),
        datetime(2020, 10, 25, tzinfo=UTC),  # the night in which clocks go back
    ],
    ids=str,
)
async def test_a_row_goes_when_its_term_is_over_and_not_a_minute_before(
    house: House, place: str, written: datetime
) -> None:
    row, term = await put(place, written), TERMS[place]

    await purge.run(now=written + term - MINUTE)
    assert await is_there(row)

    await purge.run(now=written + term)
    assert not await is_there(row)


async def test_words_go_with_their_day_whenever_on_it_they_were_said(house: House) -> None:
    late = await put("message_texts", datetime(2018, 6, 1, 23, 59, tzinfo=UTC))

    await purge.run(now=datetime(2018, 6, 30, 23, 59, tzinfo=UTC))
    assert await is_there(late)
    await purge.run(now=datetime(2018, 7, 1, tzinfo=UTC))
    assert not await is_there(late)


@pytest.fixture
async def _server_in_new_york(house: House) -> AsyncIterator[None]:
    async def move(zone: str) -> None:
        async with transaction() as session:
            await session.execute(text(f"alter database clofy set timezone = '{zone}'"))
        await close_connections()

    await move("America/New_York")
    yield
    await move("UTC")


@pytest.mark.usefixtures("_server_in_new_york")
async def test_days_are_utc_wherever_the_server_and_the_caller_are(house: House) -> None:
    """The night of 31 March 2019 has no hour from two to three in Berlin."""
    row = await put("message_texts", datetime(2019, 3, 1, tzinfo=UTC))
    reader = text("insert into post_readers (day, post_id, reader) select '2019-03-30', id, :reader from posts limit 1")
    async with transaction() as session:
        await session.execute(text("insert into posts (state) values ('draft')"))
        await session.execute(reader, {"reader": uuid4().bytes})
    left = text("select count(*) from post_readers where day = '2019-03-30'")

    await purge.run(now=datetime(2019, 3, 31, 1, 59, tzinfo=BERLIN) - timedelta(hours=1))
    async with transaction() as session:
        assert await is_there(row)
        assert await session.scalar(left) == 1
    await purge.run(now=datetime(2019, 3, 31, 3, 0, tzinfo=BERLIN))  # 01:00 UTC: an hour past midnight
    async with transaction() as session:
        assert not await is_there(row)
        assert await session.scalar(left) == 0


async def test_words_that_no_day_was_made_for_go_too(house: House) -> None:
    message_id = uuid4()
    row = "insert into message_texts (said_on, message_id, text) values ('2017-05-01', :id, 'old')"
    async with transaction() as session:
        await session.execute(text(row), {"id": message_id})

    await purge.run(now=datetime(2017, 5, 30, 23, 59, tzinfo=UTC))
    assert await words_of(message_id) == ("old", None)
    await purge.run(now=datetime(2017, 5, 31, tzinfo=UTC))
    assert await words_of(message_id) == (None, None)


async def test_more_than_a_batch_goes_and_what_somebody_works_on_is_left_to_the_next_run(
    house: House, account_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 10)
    written = datetime(2016, 1, 1, tzinfo=UTC)
    await keep_answers(account_id, 25, written)

    async with transaction() as busy:
        lock = select(KeptAnswer.key).where(KeptAnswer.account_id == account_id).limit(1).with_for_update()
        await busy.execute(lock)
        await purge.run(now=written + DAY)
        assert await answers(busy, account_id) == 1
    await purge.run(now=written + DAY)

    async with transaction() as session:
        assert await answers(session, account_id) == 0


CUT_OFF = """
import asyncio, os, signal, sys
from datetime import datetime
from core.privacy import purge
whole, after = purge._batch, int(sys.argv[2])
async def batch(session, name, *rest):
    global after
    if name == "kept_answers":
        after -= 1
        if after < 0:
            print("there", flush=True)
            if sys.argv[3] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.to_thread(sys.stdin.readline)
            after = 10**9
    return await whole(session, name, *rest)
purge._batch = batch
purge.BATCH = 10
gone = asyncio.run(purge.run(now=datetime.fromisoformat(sys.argv[1])))
print(sum(one.count for one in gone if one.place == "kept_answers"))
"""


def begun(house: House, now: datetime, *, batches: int, then: str) -> subprocess.Popen[str]:
    """A run in a process of its own, which stops after so many batches of answers: it dies, or waits for a line."""
    command = [sys.executable, "-c", CUT_OFF, now.isoformat(), str(batches), then]
    return subprocess.Popen(
        command, cwd=ROOT, env=house.environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def test_a_run_that_is_killed_half_way_is_gone_on_with_by_the_next(house: House, account_id: UUID) -> None:
    written = datetime(2015, 1, 1, tzinfo=UTC)
    await keep_answers(account_id, 25, written)

    with begun(house, written + DAY, batches=2, then="die") as killed:
        assert await asyncio.to_thread(killed.wait) == -9
    async with transaction() as session:
        assert await answers(session, account_id) == 5
        # The server notices a moment later that nobody is at the other end.
        await session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": purge.LOCK})
    gone = await purge.run(now=written + DAY)

    assert gone is not None
    assert sum(one.count for one in gone if one.place == "kept_answers") == 5
    async with transaction() as session:
        assert await answers(session, account_id) == 0


async def test_of_two_runs_at_once_one_does_the_work(house: House, account_id: UUID) -> None:
    written = datetime(2014, 1, 1, tzinfo=UTC)
    await keep_answers(account_id, 25, written)

    with begun(house, written + DAY, batches=1, then="wait") as first:
        assert first.stdout is not None
        assert await asyncio.to_thread(first.stdout.readline) == "there\n"
        assert await purge.run(now=written + DAY) is None
        told, _ = await asyncio.to_thread(first.communicate, "go on\n")

    assert told == "25\n"
    async with transaction() as session:
        assert await answers(session, account_id) == 0


async def test_what_is_held_stays_and_goes_when_the_hold_is_lifted(house: House, account_id: UUID) -> None:
    said = datetime(2013, 1, 1, 12, tzinfo=UTC)
    other_id = uuid4()
    async with transaction() as session:
        other_id = await make_account(session)
        hold = await holds.place(session, account_id, reason="court", by=None, now=said)
    mine, others = await say(account_id, said, "held"), await say(other_id, said, "free")
    for one in (account_id, other_id):
        await keep_answers(one, 1, said)

    await purge.run(now=said + 40 * DAY)

    assert (await words_of(mine), await words_of(others)) == ((None, "held"), (None, None))
    async with transaction() as session:
        assert (await answers(session, account_id), await answers(session, other_id)) == (1, 0)
        await holds.lift(session, hold, by=None, now=said + 50 * DAY)

    await purge.run(now=said + 50 * DAY)

    assert await words_of(mine) == (None, None)
    async with transaction() as session:
        assert await answers(session, account_id) == 0


def test_whose_a_row_is_can_be_asked_for_many_at_once() -> None:
    """A hold puts `any(...)` for the account, and a subquery after `=` may give one row alone."""
    assert [table.name for table in TABLES if "= (select" in table.owner] == []


async def test_a_hold_waits_for_the_batch_under_way_and_the_next_respects_it(house: House, account_id: UUID) -> None:
    async with transaction() as batch:
        assert account_id not in await holds.freeze(batch)
        placing = asyncio.create_task(_place(account_id))
        done, _ = await asyncio.wait([placing], timeout=0.3)
        assert not done
    await placing

    async with transaction() as batch:
        assert account_id in await holds.freeze(batch)


async def _place(account_id: UUID) -> None:
    async with transaction() as session:
        await holds.place(session, account_id, reason="court", by=None, now=datetime(2013, 1, 1, tzinfo=UTC))


async def test_the_facts_of_a_mail_go_before_the_mail_does(house: House, account_id: UUID) -> None:
    written = datetime(2012, 1, 1, tzinfo=UTC)
    made = """
        insert into mail_deliveries (key, account_id, recipient, template, facts, state, created_at)
        values (:key, :account, 'a@people.example', 'receipt', '{"amount": 5}', 'sent', :at)
    """
    async with transaction() as session:
        await session.execute(text(made), {"key": str(uuid4()), "account": account_id, "at": written})
    facts = text("select facts from mail_deliveries where account_id = :account")

    seen = []
    for days in (89, 90, 364, 365):
        await purge.run(now=written + timedelta(days=days))
        async with transaction() as session:
            seen.append(await session.scalar(facts, {"account": account_id}))

    assert seen == [{"amount": 5}, {"wiped": True}, {"wiped": True}, None]


async def test_who_paid_is_left_out_of_an_event_and_what_it_is_about_stays(house: House) -> None:
    received, event = datetime(2012, 1, 1, tzinfo=UTC), f"evt_{uuid4().hex}"
    made = """
        insert into stripe_events (id, type, received_at, body) values (:id, 'checkout.session.completed', :at,
            '{"data": {"object": {"object": "checkout.session", "id": "cs_1", "amount_total": 500,
                                  "customer_details": {"name": "Ada", "email": "ada@people.example"}}}}')
    """
    async with transaction() as session:
        await session.execute(text(made), {"id": event, "at": received})
    kept = text("""
        select about, body #>> '{data,object,amount_total}', strpos(body::text, 'Ada') from stripe_events where id = :id
    """)

    await purge.run(now=received + 90 * DAY - MINUTE)
    async with transaction() as session:
        assert (await session.execute(kept, {"id": event})).one()[2] > 0
    await purge.run(now=received + 90 * DAY)
    async with transaction() as session:
        assert tuple((await session.execute(kept, {"id": event})).one()) == ("cs_1", "500", 0)
        await session.execute(text("delete from stripe_events where id = :id"), {"id": event})


async def test_an_address_that_nobody_confirmed_goes_with_what_hangs_on_it(house: House) -> None:
    written = datetime(2011, 1, 1, tzinfo=UTC)
    async with transaction() as session:
        proven, unproven = await make_account(session), await make_account(session)
        old = "update accounts set created_at = :at, email_verified_at = {} where id = :id"
        await session.execute(text(old.format("created_at")), {"at": written, "id": proven})
        await session.execute(text(old.format("null")), {"at": written, "id": unproven})
    both = text("select id from accounts where id in (:a, :b)")

    await purge.run(now=written + 7 * DAY - MINUTE)
    async with transaction() as session:
        assert set(await session.scalars(both, {"a": proven, "b": unproven})) == {proven, unproven}
    await purge.run(now=written + 7 * DAY)
    async with transaction() as session:
        assert set(await session.scalars(both, {"a": proven, "b": unproven})) == {proven}


@pytest.mark.parametrize("goes", [False, True])
async def test_books_of_who_was_erased_are_closed_after_ten_full_years(house: House, rich_id: UUID, goes: bool) -> None:
    now = datetime.now(UTC)
    erased_at = datetime(now.year - books.YEARS, 1, 1, tzinfo=UTC) - (MINUTE if goes else timedelta(0))
    async with transaction() as session:
        shut = text("update accounts set erased_at = :at, disabled_at = :at where id = :id")
        await session.execute(shut, {"at": erased_at, "id": rich_id})
    assert (books.until(erased_at) <= now) is goes

    await books.close(now)

    async with transaction() as session:
        rows = text("""
            select (select count(*) from accounts where id = :id),
                   (select count(*) from credit_entries where account_id = :id)
        """)
        assert tuple((await session.execute(rows, {"id": rich_id})).one()) == ((0, 0) if goes else (1, 1))
        await session.execute(text("update accounts set erased_at = null where id = :id"), {"id": rich_id})


async def test_the_database_itself_refuses_to_delete_an_entry_before(session: AsyncSession, rich_id: UUID) -> None:
    shut = text("update accounts set erased_at = :at, disabled_at = :at where id = :id")
    await session.execute(shut, {"at": datetime(datetime.now(UTC).year - books.YEARS, 1, 1, tzinfo=UTC), "id": rich_id})

    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text("delete from credit_entries where account_id = :id"), {"id": rich_id})


async def test_what_lies_there_a_day_past_its_term_is_overdue(house: House, account_id: UUID) -> None:
    written = datetime(2010, 1, 1, tzinfo=UTC)
    await keep_answers(account_id, 1, written)
    async with transaction() as session:
        assert "kept_answers" not in await purge.overdue(session, now=written + 2 * DAY - MINUTE)
        assert (await purge.overdue(session, now=written + 2 * DAY))["kept_answers"] == written + DAY
        await session.execute(delete(KeptAnswer).where(KeptAnswer.account_id == account_id))
