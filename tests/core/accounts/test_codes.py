import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import codes
from core.accounts.codes import IssuedCode, Registration
from core.accounts.models import Account, AccountCode
from core.accounts.profile import provide_account
from core.database import transaction
from tests.house import House

WANTED = Registration(password_hash="hash", name="Ada", company=None)


async def make_account(session: AsyncSession) -> UUID:
    return await provide_account(session, email=f"{uuid4().hex}@example.com", password_hash="hash", name="Ada")


async def issue(session: AsyncSession, account_id: UUID, browser: str) -> IssuedCode:
    issued = await codes.issue_code(session, account_id=account_id, browser=browser, registration=WANTED)
    assert issued is not None
    return issued


def another(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def test_a_code_is_kept_as_a_keyed_hash(session: AsyncSession) -> None:
    account_id = await make_account(session)

    issued = await issue(session, account_id, "browser")

    row = await session.get_one(AccountCode, issued.id)
    assert len(issued.code) == 6
    assert issued.code.isdecimal()
    assert issued.code.encode() not in row.code_hash
    assert len(row.code_hash) == 32


async def test_a_new_code_voids_the_one_before(session: AsyncSession) -> None:
    account_id = await make_account(session)
    first = await issue(session, account_id, "browser")
    second = await issue(session, account_id, "browser")

    if first.code != second.code:
        used = await codes.use_code(session, account_id=account_id, browser="browser", code=first.code)
        assert used is None
    assert await codes.use_code(session, account_id=account_id, browser="browser", code=second.code) == WANTED


@pytest.mark.parametrize("code", ["１２３４５６", "²²²²²²", "", "12345", "1234567", "12345a"])
async def test_what_is_not_six_ascii_digits_is_no_code(session: AsyncSession, code: str) -> None:
    account_id = await make_account(session)
    await issue(session, account_id, "browser")

    assert await codes.use_code(session, account_id=account_id, browser="browser", code=code) is None


async def test_of_parallel_guesses_no_more_count_than_a_code_has_tries(house: House) -> None:
    async with transaction() as session:
        account_id = await make_account(session)
        issued = await issue(session, account_id, "browser")

    async def guess(code: str) -> bool:
        async with transaction() as session:
            return await codes.use_code(session, account_id=account_id, browser="browser", code=code) is not None

    await asyncio.gather(*(guess(another(issued.code)) for _ in range(20)))

    async with transaction() as session:
        tries = await session.scalar(select(AccountCode.tries).where(AccountCode.id == issued.id))
    assert tries == codes.TRIES
    assert not await guess(issued.code)


async def test_of_parallel_right_guesses_one_counts(house: House) -> None:
    async with transaction() as session:
        account_id = await make_account(session)
        issued = await issue(session, account_id, "browser")

    async def guess() -> bool:
        async with transaction() as session:
            return await codes.use_code(session, account_id=account_id, browser="browser", code=issued.code) is not None

    assert sum(await asyncio.gather(*(guess() for _ in range(5)))) == 1


async def test_codes_of_an_account_end_with_it(session: AsyncSession) -> None:
    account_id = await make_account(session)
    issued = await issue(session, account_id, "browser")

    await session.delete(await session.get_one(Account, account_id))
    await session.flush()

    assert await session.scalar(select(AccountCode.id).where(AccountCode.id == issued.id)) is None
