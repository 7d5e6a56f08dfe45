import asyncio
from contextlib import AsyncExitStack

import asyncpg
import pytest

from core.direct import Hot, direct, direct_transaction
from core.errors import NotFound
from tests.house import House

ONE = Hot("select cast(:number as int) + cast(:number as int), cast(:word as text)")
END_THE_OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> 'the end'"


async def test_a_statement_says_the_same_on_the_driver_and_on_a_session(house: House, session: object) -> None:
    async with direct() as unit:
        on_the_driver = await ONE.one(unit, number=2, word="two")
    on_a_session = await ONE.one(session, number=2, word="two")  # type: ignore[arg-type]

    assert tuple(on_the_driver) == tuple(on_a_session) == (4, "two")


async def test_connections_that_the_server_has_ended_are_not_felt(house: House) -> None:
    async with AsyncExitStack() as stack:
        drivers = [(await stack.enter_async_context(direct())).driver for _ in range(8)]
    last = await asyncpg.connect(
        house.postgres.url.replace("+asyncpg", ""), server_settings={"application_name": "the end"}
    )
    await last.execute(END_THE_OTHERS + " and backend_type = 'client backend'")
    await last.close()
    async with asyncio.timeout(5):
        while not all(driver.is_closed() for driver in drivers):  # noqa: ASYNC110  # asyncpg has no event for it
            await asyncio.sleep(0)

    async def ask() -> int:
        async with direct() as unit:
            doubled: int = await ONE.value(unit, number=1, word="")
            return doubled

    assert await asyncio.gather(*[ask() for _ in range(20)]) == [2] * 20


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
