import asyncio
import hashlib
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import web_sessions
from core.accounts.models import Account, Role, WebSession
from core.accounts.profile import provide_account
from core.accounts.web_sessions import ABSOLUTE_END, IDLE_END, find_session, start_session
from core.database import transaction
from tests.house import House


async def make_signed_in(session: AsyncSession) -> tuple[UUID, str]:
    account_id = await provide_account(session, email=f"{uuid4().hex}@example.com", password_hash="hash", name="Ada")
    token = await start_session(session, account_id=account_id, user_agent="a browser", ip="127.0.0.1")
    await session.commit()
    return account_id, token


async def moved(session: AsyncSession, token: str, **values: object) -> None:
    mine = WebSession.token_hash == web_sessions.token_hash(token)
    await session.execute(update(WebSession).where(mine).values(**values))
    await session.commit()


async def test_a_token_has_256_bits_and_only_its_hash_is_kept(session: AsyncSession) -> None:
    account_id, token = await make_signed_in(session)

    row = (await session.scalars(select(WebSession).where(WebSession.account_id == account_id))).one()

    assert len(token) == 43
    assert row.token_hash == hashlib.sha256(token.encode()).digest()


@pytest.mark.parametrize("change", [{"role": Role.ADMIN}, {"disabled_at": func.now()}])
async def test_nobody_goes_on_as_what_they_were(session: AsyncSession, change: dict[str, object]) -> None:
    account_id, token = await make_signed_in(session)

    before = await find_session(token)
    await session.execute(update(Account).where(Account.id == account_id).values(**change))
    await session.commit()

    assert before is not None
    assert (before.id, before.role) == (account_id, "user")
    assert await find_session(token) is None
    left = select(func.count()).select_from(WebSession).where(WebSession.account_id == account_id)
    assert await session.scalar(left) == 0


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("role", "factor", "age", "rests", "lives"),
    [
        (Role.USER, None, 29 * 24 * HOUR, 13 * 24 * HOUR, True),
        (Role.USER, None, 30 * 24 * HOUR, HOUR, False),
        (Role.USER, None, 20 * 24 * HOUR, 14 * 24 * HOUR, False),
        (Role.USER, "totp", 23 * HOUR, HOUR * 0.9, True),
        (Role.USER, "totp", 24 * HOUR, HOUR * 0.1, False),
        (Role.USER, "totp", 2 * HOUR, HOUR, False),
        (Role.ADMIN, "totp", 11 * HOUR, HOUR * 0.4, True),
        (Role.ADMIN, "totp", 12 * HOUR, HOUR * 0.1, False),
        (Role.ADMIN, "totp", 2 * HOUR, HOUR * 0.5, False),
    ],
)
async def test_the_more_a_session_opens_the_shorter_it_lives(
    session: AsyncSession, role: Role, factor: str | None, age: timedelta, rests: timedelta, *, lives: bool
) -> None:
    account_id = await provide_account(
        session, email=f"{uuid4().hex}@example.com", password_hash="hash", name="Ada", role=role
    )
    token = await start_session(session, account_id=account_id, user_agent="", ip="", factor=factor)
    await moved(session, token, created_at=func.now() - age, seen_at=func.now() - rests)

    listed = await web_sessions.list_sessions(session, account_id=account_id)

    assert len(listed) == lives
    assert (await find_session(token, touch=False) is not None) is lives


async def test_what_a_page_asks_by_itself_does_not_keep_a_session_awake(session: AsyncSession) -> None:
    _, token = await make_signed_in(session)
    await moved(session, token, seen_at=func.now() - HOUR)
    seen = select(WebSession.seen_at).where(WebSession.token_hash == web_sessions.token_hash(token))
    before = await session.scalar(seen)

    await find_session(token, touch=False)
    await session.commit()
    asleep = await session.scalar(seen)
    await find_session(token)
    await session.commit()

    assert asleep == before
    assert await session.scalar(seen) != before


@pytest.mark.parametrize("token", ["", "x", "é", "a\0b", "\udce9", "x" * 5000])
async def test_a_token_that_is_none_finds_nobody(session: AsyncSession, token: str) -> None:
    assert await find_session(token) is None


async def test_a_session_ends_when_idle_and_in_any_case(session: AsyncSession) -> None:
    _, idle = await make_signed_in(session)
    _, old = await make_signed_in(session)

    await moved(session, idle, seen_at=func.now() - IDLE_END - timedelta(seconds=1))
    await moved(session, old, expires_at=func.now() - timedelta(seconds=1))

    assert await find_session(idle) is None
    assert await find_session(old) is None
    assert timedelta(days=30) >= ABSOLUTE_END > IDLE_END


async def test_being_seen_is_written_at_most_once_a_minute(session: AsyncSession) -> None:
    _, token = await make_signed_in(session)
    await moved(session, token, seen_at=func.now() - timedelta(minutes=2))
    written_by = text("select cast(cast(xmin as text) as bigint) from web_sessions where token_hash = :token_hash")

    writers = []
    for _ in range(3):
        found = await session.execute(written_by, {"token_hash": web_sessions.token_hash(token)})
        writers.append(found.scalar_one())
        await session.commit()
        await find_session(token)

    assert writers[0] != writers[1] == writers[2]


async def test_a_session_that_a_parallel_sign_out_ended_is_not_brought_back(house: House) -> None:
    async with transaction() as session:
        account_id, token = await make_signed_in(session)
    async with transaction() as session:
        await moved(session, token, seen_at=func.now() - timedelta(minutes=2))

    async def sign_out() -> None:
        async with transaction() as session:
            await web_sessions.end_session(session, token=token)

    await asyncio.gather(*(find_session(token) for _ in range(10)), sign_out())

    async with transaction() as session:
        assert await web_sessions.list_sessions(session, account_id=account_id) == []
    assert await find_session(token) is None


async def test_a_session_is_revoked_by_its_owner_only(session: AsyncSession) -> None:
    account_id, token = await make_signed_in(session)
    stranger, _ = await make_signed_in(session)
    (mine,) = await web_sessions.list_sessions(session, account_id=account_id)

    by_stranger = await web_sessions.revoke_session(session, account_id=stranger, session_id=mine.id)
    by_owner = await web_sessions.revoke_session(session, account_id=account_id, session_id=mine.id)
    await session.commit()

    assert (by_stranger, by_owner) == (False, True)
    assert await find_session(token) is None
