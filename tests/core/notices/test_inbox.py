from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.mail.deliveries import send
from core.mail.render import SUBJECTS
from core.notices import inbox
from core.notices.models import Notice
from tests.core.mail.test_render import FACTS
from tests.makers import make_account

# Or what is no business of the account's: `no_account` has none, nor has who was erased, or wrote to us by mail; of a
# change of address it is told what was done.
ONLY_A_CODE = {
    *{"verification", "password_reset", "sign_in_code", "lost_factor_code", "test"},
    *{"no_account", "email_change_code", "email_change", "erasure_done", "privacy_by_mail"},
}


async def mail(session: AsyncSession, account_id: UUID | None, template: str, key: str | None = None) -> str:
    key = key or f"test:{uuid4()}"
    await send(
        session,
        key=key,
        account_id=account_id,
        recipient="ada@example.com",
        template=template,
        facts=FACTS[template] | {"code": "012345", "link": "l" * 43},
    )
    return key


def test_each_mail_has_a_notice_unless_it_only_carries_a_code() -> None:
    assert set(inbox.KINDS) == set(SUBJECTS) - ONLY_A_CODE


@pytest.mark.parametrize("template", sorted(SUBJECTS))
async def test_a_notice_comes_with_its_mail_once_and_without_secrets(session: AsyncSession, template: str) -> None:
    account_id = await make_account(session)
    key = await mail(session, account_id, template)
    await mail(session, account_id, template, key)

    found = await inbox.page(session, account_id=account_id, after=None)

    assert len(found) == (template not in ONLY_A_CODE)
    for one in found:
        assert (one.key, one.kind, one.read_at) == (key, template, None)
        assert set(one.facts) == set(inbox.KINDS[template])
        assert "012345" not in str(one.facts)


async def test_a_mail_to_nobodys_account_has_none(session: AsyncSession) -> None:
    key = await mail(session, None, "receipt")

    assert await session.scalar(select(Notice.id).where(Notice.key == key)) is None


async def test_what_was_read_is_read_for_its_owner_alone(session: AsyncSession) -> None:
    mine, another = await make_account(session), await make_account(session)
    for account_id in (mine, mine, mine, another):
        await mail(session, account_id, "receipt")
    newest, *_ = await inbox.page(session, account_id=mine, after=None)
    with pytest.raises(NotFound):
        await inbox.mark_read(session, newest.id, account_id=another)
    counts = [await inbox.unread(session, account_id=mine)]

    for _ in range(2):
        await inbox.mark_read(session, newest.id, account_id=mine)
        counts.append(await inbox.unread(session, account_id=mine))
    await inbox.mark_all_read(session, account_id=mine)

    assert [*counts, await inbox.unread(session, account_id=mine)] == [3, 2, 2, 0]
    assert await inbox.unread(session, account_id=another) == 1


async def test_pages_follow_one_another(session: AsyncSession) -> None:
    account_id = await make_account(session)
    keys = [await mail(session, account_id, "receipt") for _ in range(5)]

    first = await inbox.page(session, account_id=account_id, after=None, limit=3)
    rest = await inbox.page(session, account_id=account_id, after=first[-1].id, limit=3)

    assert [one.key for one in [*first, *rest]] == keys[::-1]
