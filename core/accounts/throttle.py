"""Growing delays between tries: counted before the try, in one statement, alike for known and unknown addresses."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Throttle
from core.errors import ClofyError, Kind
from core.settings import settings


@dataclass(frozen=True)
class Guarded:
    """What is tried, and how many tries are free before each further one waits twice as long, up to `longest`."""

    what: str
    free: int
    longest: timedelta
    forgotten_after: timedelta


# 10 tries, then at most one each minute: a stranger slows the owner by a minute and never locks him out
# (security.md 12, 13). The limits by IP and over all are the on accounts.
SIGN_IN = Guarded("sign-in", free=10, longest=timedelta(minutes=1), forgotten_after=timedelta(minutes=15))
CODE = Guarded("code", free=10, longest=timedelta(minutes=1), forgotten_after=timedelta(minutes=15))


class TooManyTries(ClofyError):
    """That was tried too often; wait a little."""

    kind = Kind.TOO_MANY
    shown = ("retry_after",)

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(retry_after=round(retry_after, 1))
        self.retry_after = retry_after


def _key(guarded: Guarded, who: str) -> bytes:
    """Keyed, so that the table does not tell which addresses were tried."""
    secret = settings().secret_key.get_secret_value().encode()
    return hmac.digest(secret, f"throttle:{guarded.what}:{who}".encode(), "sha256")


_ADMIT = text(
    """
    insert into throttles as t (key, tries, last_at, open_at) values (:key, 1, clock_timestamp(), clock_timestamp())
    on conflict (key) do update set (tries, last_at, open_at) = (
        select n, clock_timestamp(), clock_timestamp() + make_interval(secs =>
            case when n < :free then 0 else least(:longest, power(2, least(n - :free, 20))) end)
        from (select case when t.last_at < clock_timestamp() - make_interval(secs => :forgotten_after) then 1
                     else t.tries + 1 end as n) as counted
    )
    where t.open_at <= clock_timestamp()
    returning t.tries
    """
)


async def admit(session: AsyncSession, guarded: Guarded, *, who: str) -> None:
    """Count a try, or raise TooManyTries. Commit before the try itself, or a failure would uncount it.

    Parallel tries of one key wait for each other, so that not one more gets through than is allowed.
    """
    key = _key(guarded, who)
    facts = {
        "key": key,
        "free": guarded.free,
        "longest": guarded.longest.total_seconds(),
        "forgotten_after": guarded.forgotten_after.total_seconds(),
    }
    if (await session.execute(_ADMIT, facts)).first() is None:
        open_at = await session.scalar(select(Throttle.open_at).where(Throttle.key == key))
        wait = (open_at - datetime.now(UTC)).total_seconds() if open_at else 1.0
        raise TooManyTries(retry_after=max(wait, 1.0))


async def forgive(session: AsyncSession, guarded: Guarded, *, who: str) -> None:
    """Forget the tries: who succeeded has proven to be the owner."""
    await session.execute(delete(Throttle).where(Throttle.key == _key(guarded, who)))
