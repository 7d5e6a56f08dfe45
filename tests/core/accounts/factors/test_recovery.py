"""Ten codes on paper."""

import asyncio
from uuid import UUID

from sqlalchemy import select

from core.accounts.factors import recovery
from core.accounts.factors.models import RecoveryCode
from core.database import transaction
from tests.makers import make_account


async def make(account_id: UUID) -> list[str]:
    async with transaction() as session:
        return await recovery.make(session, account_id=account_id)


async def use(account_id: UUID, code: str) -> bool:
    async with transaction() as session:
        return await recovery.use(session, account_id=account_id, code=code)


async def test_ten_codes_are_made_and_only_their_hashes_are_kept(account_id: UUID) -> None:
    codes = await make(account_id)

    async with transaction() as session:
        kept = (
            await session.scalars(select(RecoveryCode.code_hash).where(RecoveryCode.account_id == account_id))
        ).all()
    assert len(set(codes)) == len(kept) == 10
    assert all(len(code.replace("-", "")) * 5 >= 112 for code in codes)
    assert not any(
        code.encode() in row or code.replace("-", "").upper().encode() in row for code in codes for row in kept
    )


async def test_a_code_burns_and_of_parallel_tries_one_succeeds(account_id: UUID) -> None:
    codes = await make(account_id)

    tries = await asyncio.gather(*[use(account_id, codes[3]) for _ in range(10)])

    assert tries.count(True) == 1
    async with transaction() as session:
        assert await recovery.left(session, account_id=account_id) == 9


async def test_a_code_is_read_however_it_is_typed(account_id: UUID) -> None:
    codes = await make(account_id)

    assert await use(account_id, codes[0].upper().replace("-", " "))
    assert await use(account_id, f"  {codes[1].replace('-', '')}\n")
    assert not await use(account_id, codes[2][:-1])
    assert not await use(account_id, "")


async def test_a_new_set_voids_the_one_before(account_id: UUID) -> None:
    before, after = await make(account_id), await make(account_id)

    assert not await use(account_id, before[0])
    assert await use(account_id, after[0])


async def test_a_code_of_one_account_is_none_of_another(account_id: UUID) -> None:
    async with transaction() as session:
        other = await make_account(session)
    codes = await make(account_id)

    assert not await use(other, codes[0])
