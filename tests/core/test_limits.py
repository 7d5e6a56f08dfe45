"""Not one try more than is allowed, whoever counts at the same time; and no stranger uses up what is the owner's."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from core import limits
from core.database import transaction
from core.limits import DAY, HOUR, Limit, TooManyTries, Try, Window
from tests.house import House

FEW = Limit(
    "few", account=(Window(3, timedelta(minutes=5)), Window(5, HOUR)), ip=(Window(4, DAY),), everybody=Window(6, DAY)
)


@pytest.fixture(autouse=True)
async def _counted_anew(house: House) -> None:
    async with transaction() as session:
        await session.execute(text("delete from limit_counts"))


def somebody() -> str:
    return f"{uuid4()}@people.example"


def address() -> str:
    return f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"


async def let_in(limit: Limit = FEW, **facts: str | None) -> bool:
    try:
        await limits.admit(limit, **{"account": somebody(), "ip": address(), **facts})  # type: ignore[arg-type]
    except TooManyTries:
        return False
    return True


async def later(by: timedelta) -> None:
    """Move all that was counted into the past."""
    async with transaction() as session:
        await session.execute(
            text("update limit_counts set tries = array(select one - cast(:by as interval) from unnest(tries) as one)"),
            {"by": by},
        )


async def test_of_many_at_once_no_more_get_through_than_fit() -> None:
    who = somebody()

    answers = await asyncio.gather(*[let_in(account=who) for _ in range(8)])

    assert sum(answers) == 3


async def test_a_host_with_a_wide_network_does_not_use_up_what_all_have() -> None:
    few = Limit("wide", ip=(Window(1, HOUR),), everybody=Window(15, DAY))

    tried = [await let_in(few, ip=f"2001:db8:7:{number:x}::1") for number in range(20)]

    assert tried == [True] * limits.NETWORKS_OF_ONE + [False] * 10
    assert await let_in(few, ip="2001:db8:8::1")


async def test_an_address_is_counted_over_all_accounts_and_a_network_of_ipv6_is_one() -> None:
    by_one = [await let_in(ip="203.0.113.7") for _ in range(5)]
    by_its_network = [await let_in(Limit("v6", ip=FEW.ip), ip=f"2001:db8::{n}", account=None) for n in range(1, 6)]

    assert by_one == by_its_network == [True] * 4 + [False]


async def test_all_together_are_counted_too() -> None:
    assert [await let_in() for _ in range(7)] == [True] * 6 + [False]


async def test_waits_grow_from_window_to_window_and_what_is_refused_is_not_counted() -> None:
    who = somebody()
    for _ in range(3):
        await limits.admit(FEW, account=who, ip=address())
    with pytest.raises(TooManyTries) as short:
        await limits.admit(FEW, account=who, ip=address())
    await later(timedelta(minutes=5))
    assert [await let_in(account=who) for _ in range(2)] == [True, True]
    with pytest.raises(TooManyTries) as long:
        await limits.admit(FEW, account=who, ip="")

    assert 290 < short.value.retry_after <= 300
    assert 3200 < long.value.retry_after <= 3300


async def test_what_strangers_tried_does_not_count_for_a_browser_that_is_known() -> None:
    who = somebody()
    while await let_in(account=who):
        pass

    assert await let_in(account=who, browser="known")
    assert [await let_in(account=who, browser="known") for _ in range(3)] == [True, True, False]


async def test_a_success_takes_back_its_own_count_and_no_other_of_the_address() -> None:
    who, ip = somebody(), address()
    for _ in range(3):
        await limits.admit(FEW, account=somebody(), ip=ip)

    for _ in range(3):
        tried = await limits.admit(Limit("few", account=FEW.account, ip=FEW.ip), account=who, ip=ip)
        await succeed(tried)

    assert await let_in(account=who, ip=ip)
    assert not await let_in(ip=ip)


async def succeed(tried: Try) -> None:
    async with transaction() as session:
        await limits.succeeded(session, tried)


async def test_the_owner_clears_what_was_tried_on_the_account() -> None:
    who = somebody()
    for _ in range(2):
        await let_in(account=who)
    tried = await limits.admit(FEW, account=who, ip="")
    async with transaction() as session:
        await limits.succeeded(session, tried, clear_account=True)

    assert [await let_in(account=who) for _ in range(3)] == [True] * 3


def test_the_table_does_not_tell_who_was_tried(house: House) -> None:
    key = limits._key(FEW, "account", "ada@example.com")

    assert b"ada" not in key
    assert key != limits._key(limits.SIGN_IN, "account", "ada@example.com")
