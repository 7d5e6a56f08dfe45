import pytest

from core.database import transaction
from core.direct import direct
from core.errors import NotFound
from core.media import uploads
from core.media.uploads import BLOCK, NotUploading
from tests.house import House
from tests.makers import make_account

pytestmark = pytest.mark.usefixtures("house")


async def test_a_block_arrives_once_and_none_after_the_end_of_its_upload(house: House) -> None:
    async with transaction() as session:
        owner, other = [await make_account(session) for _ in range(2)]
        media = await uploads.begin(session, account_id=owner, name="a.png", size=BLOCK + 1)

    async with direct() as unit:
        for number in (1, 0, 1):
            await uploads.arrived(unit, media.id, number, account_id=owner)
        with pytest.raises(NotFound):
            await uploads.arrived(unit, media.id, 0, account_id=other)
    async with transaction() as session:
        assert await uploads.blocks_of(session, media.id) == [0, 1]
        await uploads.complete(session, media.id, account_id=owner)

    async with direct() as unit:
        with pytest.raises(NotUploading):
            await uploads.arrived(unit, media.id, 0, account_id=owner)


@pytest.mark.parametrize(("size", "blocks"), [(1, [1]), (BLOCK, [BLOCK]), (BLOCK + 1, [BLOCK, 1])])
def test_all_blocks_but_the_last_have_one_size(size: int, blocks: list[int]) -> None:
    assert [uploads.block_bytes(size, number) for number in range(len(blocks))] == blocks
    with pytest.raises(NotFound):
        uploads.block_bytes(size, len(blocks))
