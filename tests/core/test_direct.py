import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from core.direct import DIRECT_SIZE, DatabaseAway, Hot, direct, direct_transaction, driver_options
from core.errors import NotFound
from tests.house import House

ONE = Hot("select cast(:number as int) + cast(:number as int), cast(:word as text)")
END_THE_OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> 'the end'"
_FIELDS = b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
FAREWELL = b"E" + (4 + len(_FIELDS)).to_bytes(4, "big") + _FIELDS  # as the server writes it before it closes


async def test_a_statement_says_the_same_on_the_driver_and_on_a_session(house: House, session: object) -> None:
    async with direct() as unit:
        on_the_driver = await ONE.one(unit, number=2, word="two")
    on_a_session = await ONE.one(session, number=2, word="two")  # type: ignore[arg-type]

    assert tuple(on_the_driver) == tuple(on_a_session) == (4, "two")


async def ask() -> int:
    async with direct() as unit:
        doubled: int = await ONE.value(unit, number=1, word="")
        return doubled


async def all_connections() -> list[asyncpg.Connection]:
    """Every connection that this process has for `direct()`."""
    async with AsyncExitStack() as stack:
        return [(await stack.enter_async_context(direct())).driver for _ in range(DIRECT_SIZE)]


async def test_connections_that_the_server_has_ended_are_not_felt(house: House) -> None:
    drivers = await all_connections()
    last = await asyncpg.connect(
        house.postgres.url.replace("+asyncpg", ""), server_settings={"application_name": "the end"}
    )
    await last.execute(END_THE_OTHERS + " and backend_type = 'client backend'")
    await last.close()
    async with asyncio.timeout(5):
        while not all(driver.is_closed() for driver in drivers):  # noqa: ASYNC110  # asyncpg has no event for it
            await asyncio.sleep(0)

    assert await asyncio.gather(*[ask() for _ in range(2 * DIRECT_SIZE)]) == [2] * 2 * DIRECT_SIZE
    assert not any(driver in drivers for driver in await all_connections())


async def test_one_that_has_read_the_servers_farewell_but_not_its_end_is_away(house: House) -> None:
    await ask()
    async with direct() as unit:
        ending = unit.driver
        ending._protocol.data_received(FAREWELL)

    assert not ending.is_closed()
    with pytest.raises(DatabaseAway):
        await ask()
    assert ending.is_closed()
    assert await ask() == 2


async def test_one_that_the_server_ends_in_mid_statement_is_away(house: House) -> None:
    async def end_itself() -> None:
        async with direct() as unit:
            await Hot("select pg_terminate_backend(pg_backend_pid())").all(unit)

    with pytest.raises(DatabaseAway):
        await end_itself()
    assert await ask() == 2


async def test_one_that_was_cut_off_in_mid_statement_is_given_to_nobody(house: House) -> None:
    async def wait_long(begun: asyncio.Future[asyncpg.Connection]) -> None:
        async with direct() as unit:
            begun.set_result(unit.driver)
            await Hot("select pg_sleep(60)").all(unit)

    begun: asyncio.Future[asyncpg.Connection] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait_long(begun))
    driver = await begun
    await asyncio.sleep(0)  # into the statement
    task.cancel()
    await asyncio.wait([task])

    assert driver not in await all_connections()


@pytest.mark.parametrize(("sql", "number"), [("select 1 from nowhere where :number", 1), ("select 1 / :number", 0)])
async def test_a_fault_of_ours_is_not_taken_for_it_and_costs_no_connection(house: House, sql: str, number: int) -> None:
    await ask()
    used = []

    async def fail() -> None:
        async with direct() as unit:
            used.append(unit.driver)
            await Hot(sql).all(unit, number=number)

    for _ in range(2):
        with pytest.raises(asyncpg.PostgresError):
            await fail()
    assert used[0] is used[1]


async def test_more_than_there_are_connections_wait_for_one_and_not_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(DIRECT_SIZE):
            await stack.enter_async_context(direct())
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert not waiting.done()
        monkeypatch.setattr("core.direct.WAIT_SECONDS", 0.01)
        with pytest.raises(DatabaseAway):
            await ask()

    assert await waiting == 2


def test_the_driver_is_given_what_the_url_says() -> None:
    url = "postgresql+asyncpg://ada:l%40ve@db:5433/clofy?ssl=verify-full&prepared_statement_cache_size=9"

    assert driver_options(url) == {
        "user": "ada",
        "password": "l@ve",
        "host": "db",
        "port": 5433,
        "database": "clofy",
        "ssl": "verify-full",
    }


async def test_an_error_undoes_all_and_leaves_the_connection_good(house: House) -> None:
    create = Hot("create table half_done (number int)")

    async def fail() -> None:
        async with direct_transaction() as unit:
            await create.all(unit)
            raise NotFound

    for _ in range(2):  # the second time it would be there
        with pytest.raises(NotFound):
            await fail()


async def test_what_waits_for_the_commit_runs_after_it_and_not_after_an_error(house: House) -> None:
    from core.database import after_commit

    ran: list[str] = []

    async def act(*, fails: bool) -> None:
        async with direct_transaction() as unit:
            after_commit(unit, lambda: ran.append("ran"))
            if fails:
                raise NotFound

    with pytest.raises(NotFound):
        await act(fails=True)
    assert ran == []
    await act(fails=False)
    assert ran == ["ran"]
