from datetime import timedelta
from uuid import uuid4

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.forgetting import forget_ended
from core.accounts.models import Account, AccountCode, WebSession
from core.accounts.web_sessions import start_session
from core.limits import LimitCount
from tests.makers import make_account


async def test_an_address_that_nobody_proved_is_forgotten_with_its_codes(session: AsyncSession) -> None:
    proven, unproven, fresh = [await make_account(session) for _ in range(3)]
    old = {"created_at": func.now() - timedelta(days=8)}
    await session.execute(update(Account).where(Account.id.in_([proven, unproven])).values(**old))
    await session.execute(update(Account).where(Account.id.in_([unproven, fresh])).values(email_verified_at=None))
    code = AccountCode(
        account_id=unproven, purpose="verify_email", code_hash=b"", browser_hash=b"", expires_at=func.now()
    )
    session.add(code)
    await session.flush()

    gone = await forget_ended(session)

    left = set(await session.scalars(select(Account.id).where(Account.id.in_([proven, unproven, fresh]))))
    assert left == {proven, fresh}
    assert gone["accounts"] >= 1
    assert await session.scalar(select(func.count()).where(AccountCode.account_id == unproven)) == 0


async def test_ended_sessions_and_old_traces_go_and_live_ones_stay(session: AsyncSession) -> None:
    account_id = await make_account(session)
    for ends in (timedelta(days=1), timedelta(days=-1)):
        await start_session(session, account_id=account_id, user_agent=str(ends.days), ip="")
        named = WebSession.user_agent == str(ends.days)
        await session.execute(
            update(WebSession).where(WebSession.account_id == account_id, named).values(expires_at=func.now() + ends)
        )
    keys = [uuid4().bytes, uuid4().bytes]
    for key, days in zip(keys, (-1, 1), strict=True):
        when = func.now() - timedelta(days=days)
        session.add(LimitCount(key=key, forget_at=when))
    await session.flush()

    await forget_ended(session)

    agents = await session.scalars(select(WebSession.user_agent).where(WebSession.account_id == account_id))
    assert list(agents) == ["1"]
    assert list(await session.scalars(select(LimitCount.key).where(LimitCount.key.in_(keys)))) == keys[:1]
