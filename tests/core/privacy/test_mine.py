"""What a person is shown that we keep about them."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy import mine, requests
from core.privacy.registry import DataClass
from core.privacy.request_models import RequestKind, Via
from tests.makers import make_account


async def rows(session: AsyncSession, account_id: UUID) -> dict[DataClass, int]:
    return {share.of: share.rows for share in await mine.shares(session, account_id)}


async def test_each_class_is_there_with_how_much_is_kept_of_the_person_alone(
    session: AsyncSession, account_id: UUID
) -> None:
    other = await make_account(session)
    before = await rows(session, account_id)

    for one in (account_id, other):
        await requests.file(session, account_id=one, kind=RequestKind.OBJECTION, via=Via.ACCOUNT, now=datetime.now(UTC))

    after = await rows(session, account_id)
    assert before[DataClass.ACCOUNT] == 1
    assert before[DataClass.TRANSCRIPT] == 0
    assert after[DataClass.REQUEST] - before[DataClass.REQUEST] == 3  # the request and its first two steps
    assert DataClass.HOUSE not in after
