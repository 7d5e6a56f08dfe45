"""A receipt that is changed, taken out or made up is seen; a key that is no longer accepted voids none."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import secrets
from core.privacy import purge_receipts
from core.privacy.purge_models import PurgeReceipt
from core.privacy.registry import DataClass

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GONE = [{"place": "audit_entries", "before": NOW, "count": 3, "days": 0}]


@pytest.fixture(autouse=True)
async def _none_of_others(session: AsyncSession) -> None:
    await session.execute(delete(PurgeReceipt))


async def written(session: AsyncSession, count: int) -> Sequence[int]:
    return [
        (await purge_receipts.write(session, run_id=uuid4(), of=DataClass.LOG, gone=GONE, begun_at=NOW)).id
        for _ in range(count)
    ]


async def faults(session: AsyncSession) -> list[str]:
    session.expire_all()
    return (await purge_receipts.verify(session)).faults


def use(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    monkeypatch.setattr(secrets, "valid", lambda _: keys)


async def test_receipts_say_what_went_and_are_whole(session: AsyncSession) -> None:
    [first, last] = await written(session, 2)

    verdict = await purge_receipts.verify(session)

    assert (verdict.count, verdict.faults) == (2, [])
    one = await session.get_one(PurgeReceipt, first)
    assert one.gone == [{"place": "audit_entries", "before": "2026-03-01T12:00:00+00:00", "count": 3, "days": 0}]
    assert (await session.get_one(PurgeReceipt, last)).previous == one.hash


async def test_one_that_is_changed_is_seen(session: AsyncSession) -> None:
    [_, second, _] = await written(session, 3)
    await session.execute(update(PurgeReceipt).where(PurgeReceipt.id == second).values(gone=[]))

    assert await faults(session) == [f"{second}: was changed"]


async def test_one_that_is_changed_with_its_hash_is_seen(session: AsyncSession) -> None:
    [_, second, third] = await written(session, 3)
    one = await session.get_one(PurgeReceipt, second)
    one.gone = []
    one.hash = purge_receipts.hash_of(one)
    await session.flush()

    assert await faults(session) == [f"{second}: is not signed by us", f"{third}: does not follow {second}"]


async def test_one_that_is_taken_out_is_seen(session: AsyncSession) -> None:
    [first, second, third] = await written(session, 3)
    await session.execute(delete(PurgeReceipt).where(PurgeReceipt.id == second))

    assert await faults(session) == [f"{third}: does not follow {first}"]


async def test_those_of_long_ago_may_go_from_the_front(session: AsyncSession) -> None:
    [first, *_] = await written(session, 3)
    await session.execute(delete(PurgeReceipt).where(PurgeReceipt.id == first))

    assert await faults(session) == []


async def test_another_key_voids_none_once_the_next_run_has_signed(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "old")
    [last] = await written(session, 1)
    use(monkeypatch, "new", "old")
    assert await faults(session) == []
    use(monkeypatch, "new")
    assert await faults(session) == [f"{last}: is the latest, and signed under a key that is no longer accepted"]
    use(monkeypatch, "new", "old")
    await written(session, 1)
    use(monkeypatch, "new")

    assert await faults(session) == []


async def test_nobody_goes_on_a_chain_that_is_not_ours_without_a_word(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(purge_receipts.logger, "error", lambda event, **facts: told.append((event, facts)))
    [last] = await written(session, 1)
    await session.execute(text("update purge_receipts set signature = 'made up'"))
    session.expire_all()

    await written(session, 1)

    assert told == [("purge_receipt_not_ours", {"receipt": last})]
