"""Erasure: asked for once however often, undone until it begins, and then nothing of the person is left."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.accounts.models import Account, Role, WebSession
from core.accounts.web_sessions import start_session
from core.database import transaction
from core.errors import NotFound
from core.jobs import Job
from core.mail import deliveries
from core.mail.models import Delivery
from core.notices.models import Notice
from core.privacy import erasure, erasure_proof, erasure_steps, holds, requests
from core.privacy.erasure import LastAdmin, TooLateToUndo
from core.privacy.erasure_models import AccountErasure, ErasureState
from core.privacy.request_models import RequestKind, State, Via
from core.queue import TaskName
from tests.core.privacy.lives import Life, make_life, places_with
from tests.makers import make_account

NOW = datetime(2028, 2, 23, 12, 0, tzinfo=UTC)  # the seven days after it have a leap day


async def begin(account_id: UUID, now: datetime = NOW) -> AccountErasure:
    async with transaction() as session:
        return await erasure.begin(session, account_id=account_id, now=now)


async def start(made: AccountErasure, now: datetime) -> erasure_steps.Begun | None:
    async with transaction() as session:
        return await erasure_steps.start(session, made.id, now=now)


async def mails_to(session: AsyncSession, account_id: UUID) -> list[str]:
    mine = select(Delivery.template).where(Delivery.account_id == account_id).order_by(Delivery.created_at, Delivery.id)
    return list(await session.scalars(mine))


async def test_an_account_closes_in_seven_days_and_is_signed_out_everywhere(
    account_id: UUID, session: AsyncSession
) -> None:
    async with transaction() as one:
        await start_session(one, account_id=account_id, user_agent="", ip="")

    made = await begin(account_id)

    assert (made.state, made.due_at) == (ErasureState.GRACE, datetime(2028, 3, 1, 12, 0, tzinfo=UTC))
    assert await session.scalar(select(WebSession.id).where(WebSession.account_id == account_id)) is None
    account = await profile.get_account(session, account_id=account_id)
    assert (account.closing_at, account.disabled_at) == (made.due_at, None)
    assert await mails_to(session, account_id) == ["erasure_begun"]
    assert list(await session.scalars(select(Notice.kind).where(Notice.account_id == account_id))) == ["erasure_begun"]
    job = (await session.scalars(select(Job).where(Job.key == f"erase:{made.id}"))).one()
    assert (job.task, job.account_id) == (TaskName.ERASE, None)
    assert timedelta(days=6, hours=23) < job.available_at - job.created_at <= timedelta(days=7)


async def test_asked_twice_and_by_two_ways_it_is_one(account_id: UUID, session: AsyncSession) -> None:
    first = await begin(account_id)

    again = await begin(account_id, NOW + timedelta(days=1))

    assert (again.id, again.due_at) == (first.id, first.due_at)
    assert await mails_to(session, account_id) == ["erasure_begun"]


async def test_undone_nothing_is_gone_and_the_request_is_withdrawn(account_id: UUID, session: AsyncSession) -> None:
    async with transaction() as one:
        asked = await requests.file(one, account_id=account_id, kind=RequestKind.ERASURE, via=Via.ACCOUNT, now=NOW)
        await erasure.begin(one, account_id=account_id, request_id=asked.id, now=NOW)

    async with transaction() as one:
        made = await erasure.undo(one, account_id=account_id, now=NOW + timedelta(days=6, hours=23, minutes=59))

    assert await start(made, NOW + timedelta(days=8)) is None
    account = await profile.get_account(session, account_id=account_id)
    assert (account.closing_at, account.disabled_at, account.erased_at) == (None, None, None)
    assert (await mails_to(session, account_id))[-1] == "erasure_undone"
    assert (await requests.find(session, asked.id, account_id=account_id)).state == State.WITHDRAWN
    assert (await begin(account_id)).id != made.id


@pytest.mark.parametrize(
    ("after", "begins"),
    [
        (timedelta(days=6, hours=23, minutes=59, seconds=59), False),
        (timedelta(days=7), True),
        (timedelta(days=70), True),
    ],
)
async def test_it_begins_when_it_is_due_and_not_a_second_before(
    account_id: UUID, after: timedelta, begins: bool
) -> None:
    made = await begin(account_id)

    assert (await start(made, NOW + after) is not None) is begins


async def test_once_it_has_begun_it_cannot_be_undone(account_id: UUID) -> None:
    made = await begin(account_id)
    await start(made, NOW + erasure.GRACE)

    with pytest.raises(TooLateToUndo):
        async with transaction() as one:
            await erasure.undo(one, account_id=account_id, now=NOW + erasure.GRACE)


async def until_somebody_waits_for(session: AsyncSession) -> None:
    """For a lock of this session's."""
    waits = text("select exists (select from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid)))")
    for _ in range(1_000):
        if await session.scalar(waits):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_undone_in_the_moment_that_it_begins_it_stays(account_id: UUID) -> None:
    made = await begin(account_id)

    async with transaction() as one:
        await one.execute(select(Account.id).where(Account.id == account_id).with_for_update())
        beginning = asyncio.create_task(start(made, NOW + erasure.GRACE))
        await until_somebody_waits_for(one)
        await erasure.undo(one, account_id=account_id, now=NOW)

    assert await beginning is None


async def test_without_an_erasure_there_is_nothing_to_undo(account_id: UUID) -> None:
    with pytest.raises(NotFound):
        async with transaction() as one:
            await erasure.undo(one, account_id=account_id, now=NOW)


async def test_the_last_day_is_told_once(account_id: UUID, session: AsyncSession) -> None:
    await begin(account_id)

    for hours in (0, 143, 145, 146):
        async with transaction() as one:
            await erasure.remind(one, now=NOW + timedelta(hours=hours))

    assert await mails_to(session, account_id) == ["erasure_begun", "erasure_soon"]


async def test_a_legal_hold_makes_it_wait_and_the_person_is_told_once(account_id: UUID, session: AsyncSession) -> None:
    made = await begin(account_id)
    async with transaction() as one:
        hold = await holds.place(one, account_id, reason="a matter", by=None, now=NOW)

    waited = [await start(made, NOW + timedelta(days=days)) for days in (8, 9)]
    async with transaction() as one:
        await holds.lift(one, hold, by=None, now=NOW)
    then = await start(made, NOW + timedelta(days=10))

    assert waited == [None, None]
    assert (await mails_to(session, account_id)).count("erasure_waits") == 1
    assert then is not None


async def test_the_last_admin_cannot_be_erased(session: AsyncSession) -> None:
    admin = await make_account(session, role=Role.ADMIN)
    others = update(Account).where(Account.role == Role.ADMIN, Account.id != admin)
    await session.execute(others.values(role=Role.USER))  # rolled back with the session

    with pytest.raises(LastAdmin):
        await erasure.begin(session, account_id=admin, now=NOW)
    await make_account(session, role=Role.ADMIN)
    assert (await erasure.begin(session, account_id=admin, now=NOW)).state == ErasureState.GRACE


async def finish(account_id: UUID, **outside: object) -> AccountErasure:
    made = await begin(account_id)
    await start(made, NOW + erasure.GRACE)
    async with transaction() as one:
        await erasure_steps.finish(one, made.id, outside=outside, now=NOW + erasure.GRACE)
    async with transaction() as one:
        return await one.get_one(AccountErasure, made.id)


async def test_the_proof_is_signed_and_says_nothing_about_the_person_and_goes_to_the_old_address(
    session: AsyncSession,
) -> None:
    person: Life = await make_life()

    made = await finish(person.id, blobs={"public": 2}, purchases=1)

    proof = made.proof
    assert made.state == ErasureState.DONE
    assert proof is not None
    assert erasure_proof.is_ours(proof)
    assert not erasure_proof.is_ours({**proof, "gone": []})
    assert person.mark not in str(proof)
    last = (await session.scalars(select(Delivery).where(Delivery.key == f"erasure:{made.id}:done"))).one()
    assert (last.recipient, last.account_id) == (person.email, None)
    assert (await places_with(session, person.mark)).keys() == {"mail_deliveries"}
    async with transaction() as one:
        await deliveries.mark_sent(one, last.id)
    session.expire_all()
    assert await places_with(session, person.mark) == {}
    standing = await requests.of_account(session, account_id=person.id)
    assert [one.state for one in standing] == [State.ANSWERED]  # a correction that nobody can make any more


async def test_the_link_of_the_last_mail_shows_the_proof_for_thirty_days(session: AsyncSession) -> None:
    async with transaction() as one:
        account_id = await make_account(one)
    made = await finish(account_id)
    last = (await session.scalars(select(Delivery).where(Delivery.key == f"erasure:{made.id}:done"))).one()
    token = last.facts["link"]
    ended = NOW + erasure.GRACE

    found = await erasure_steps.proof_by_link(session, token, now=ended + timedelta(days=29, hours=23))
    late = await erasure_steps.proof_by_link(session, token, now=ended + timedelta(days=30))

    assert found is not None
    assert found.id == made.id
    assert late is None
    assert await erasure_steps.proof_by_link(session, token + "x", now=ended) is None


async def test_an_address_that_nobody_confirmed_is_erased_and_not_written_to(session: AsyncSession) -> None:
    async with transaction() as one:
        account_id = await make_account(one)
        await one.execute(update(Account).where(Account.id == account_id).values(email_verified_at=None))

    made = await finish(account_id)

    assert made.state == ErasureState.DONE
    assert await session.scalar(select(Delivery.id).where(Delivery.key == f"erasure:{made.id}:done")) is None


async def test_a_last_mail_that_cannot_be_sent_is_forgotten_after_a_week(session: AsyncSession) -> None:
    async with transaction() as one:
        account_id = await make_account(one)
    made = await finish(account_id)
    async with transaction() as one:
        mine = update(Delivery).where(Delivery.key == f"erasure:{made.id}:done")
        await one.execute(mine.values(created_at=NOW - timedelta(days=7, minutes=1)))

    async with transaction() as one:
        assert await erasure_steps.forget_last_mails(one, now=NOW) >= 1

    assert await session.scalar(select(Delivery.id).where(Delivery.key == f"erasure:{made.id}:done")) is None
