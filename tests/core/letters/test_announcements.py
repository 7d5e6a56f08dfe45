"""Announcements: to whom, once, in batches that stop and go on; and the word about few credits."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.accounts.models import Account
from core.credits import ledger
from core.errors import NotFound
from core.jobs import Job
from core.letters import announcements, low_balance
from core.letters.announcements import NotNow
from core.letters.models import Announcement, AnnouncementState
from core.mail.consents import choose
from core.mail.models import Consent, Delivery, Topic
from core.queue import TaskName
from tests.makers import make_account


@pytest.fixture(autouse=True)
async def nobody_wants_any(session: AsyncSession) -> None:
    """Other tests' people chose in the same database; undone at the end."""
    await session.execute(update(Consent).values(topic=Topic.LOW_BALANCE))


async def make_reader(session: AsyncSession, *wanted: bool) -> UUID:
    account_id = await make_account(session)
    for one in wanted:
        await choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=one, via="account")
    return account_id


async def make_news(session: AsyncSession) -> Announcement:
    title = f"News {uuid4()}"
    return await announcements.begin(session, title=title, text="It is new.", made_by=uuid4())


async def waiting(session: AsyncSession, news: Announcement) -> list[Job]:
    mine = Job.payload["announcement_id"].as_string() == str(news.id)
    done = Job.finished_at.is_not(None)
    return list(await session.scalars(select(Job).where(mine, ~done).order_by(Job.created_at)))


async def work_off(session: AsyncSession, news: Announcement, *, most: int = 20) -> None:
    """Do the jobs as a worker does, so many at most."""
    for _ in range(most):
        due = await waiting(session, news)
        if not due:
            return
        for job in due:
            await announcements.write_batch(session, news.id, round_number=job.payload["round"])
            job.state, job.finished_at = "done", func.now()
        await session.flush()


async def readers_of(session: AsyncSession, news: Announcement) -> list[UUID | None]:
    query = select(Delivery.account_id).where(Delivery.key.startswith(f"announcement:{news.id}:"))
    return list(await session.scalars(query))


async def test_news_go_once_to_those_who_want_them(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "BATCH", 2)
    wants = [await make_reader(session, True) for _ in range(3)] + [await make_reader(session, False, True)]
    for chosen in ([], [False], [True, False]):
        await make_reader(session, *chosen)
    shut = await make_reader(session, True)
    await session.execute(update(Account).where(Account.id == shut).values(disabled_at=func.now()))
    news = await make_news(session)

    await work_off(session, news)
    await announcements.write_batch(session, news.id, round_number=0)

    assert sorted(map(str, await readers_of(session, news))) == sorted(map(str, wants))
    assert (news.state, news.written) == (AnnouncementState.DONE, 4)
    assert await waiting(session, news) == []


async def test_a_stopped_one_goes_on_where_it_was(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "BATCH", 2)
    wants = [await make_reader(session, True) for _ in range(5)]
    news = await make_news(session)
    await work_off(session, news, most=1)

    await announcements.stop(session, news.id)
    left_over = await waiting(session, news)
    await work_off(session, news)
    while_stopped = await readers_of(session, news)
    with pytest.raises(NotNow):
        await announcements.stop(session, news.id)
    await announcements.go_on(session, news.id)
    for job in left_over:  # a message that comes late is of the round before
        await announcements.write_batch(session, news.id, round_number=job.payload["round"])
    late = await readers_of(session, news)
    await work_off(session, news)

    assert (len(while_stopped), len(late)) == (2, 2)
    assert sorted(map(str, await readers_of(session, news))) == sorted(map(str, wants))
    with pytest.raises(NotNow):
        await announcements.go_on(session, news.id)


async def test_the_next_batch_waits_so_that_codes_come_first(
    session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "BATCH", 1)
    await make_reader(session, True)
    news = await make_news(session)

    await work_off(session, news, most=1)

    (job,) = await waiting(session, news)
    assert job.available_at - job.created_at == announcements.BATCH_EVERY


async def test_a_batch_that_is_given_up_leaves_it_stopped(session: AsyncSession) -> None:
    await make_reader(session, True)
    news = await make_news(session)
    (job,) = await waiting(session, news)

    await jobs.stop(session, job)

    await session.refresh(news)
    assert news.state == AnnouncementState.STOPPED
    assert job.task == TaskName.ANNOUNCE


async def test_there_must_be_one(session: AsyncSession) -> None:
    with pytest.raises(NotFound):
        await announcements.stop(session, uuid4())


async def spend(session: AsyncSession, account_id: UUID, amount_mc: int) -> None:
    hold_id, _ = await ledger.hold(
        session, account_id=account_id, at_least_mc=amount_mc, at_most_mc=amount_mc, source=f"test:{uuid4()}"
    )
    await ledger.settle(session, hold_id=hold_id, cost_mc=amount_mc)


async def buy(session: AsyncSession, account_id: UUID, *, kind: str = "purchase") -> None:
    await ledger.grant(session, account_id=account_id, amount_mc=100_000, source=f"test:{uuid4()}", kind=kind)


async def told(session: AsyncSession, account_id: UUID) -> list[str]:
    last: UUID | None = low_balance.FIRST
    while last is not None:
        _, last = await low_balance.tell(session, after=last)
    mine = (Delivery.account_id == account_id, Delivery.template == "low_balance")
    return [one.facts["credits"] for one in await session.scalars(select(Delivery).where(*mine).order_by(Delivery.id))]


async def test_few_credits_are_told_once_and_again_after_a_purchase(session: AsyncSession) -> None:
    account_id = await make_account(session)
    await buy(session, account_id)
    said = [await told(session, account_id)]

    await spend(session, account_id, 80_000)  # 20 credits are left: not below
    said.append(await told(session, account_id))
    await spend(session, account_id, 500)
    said += [await told(session, account_id), await told(session, account_id)]
    await spend(session, account_id, 10_000)
    said.append(await told(session, account_id))
    await buy(session, account_id)
    said.append(await told(session, account_id))
    await spend(session, account_id, 95_000)
    said.append(await told(session, account_id))

    assert [len(one) for one in said] == [0, 0, 1, 1, 1, 1, 2]
    assert said[-1] == ["19", "14"]


async def test_who_never_bought_is_not_told_to_buy(session: AsyncSession) -> None:
    account_id = await make_account(session)
    await buy(session, account_id, kind="grant")

    await spend(session, account_id, 90_000)

    assert await told(session, account_id) == []
