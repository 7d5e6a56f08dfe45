"""How often something may be tried: by account, by address and by all; alike for what exists and for what does not.

Counted before the try, in PostgreSQL: sign-in cannot do without it either, so that when it is away nothing is tried at
all, and Redis being away or emptied changes nothing. Waits grow from window to window, up to the longest one's end.

A stranger uses up what strangers have. A browser that signed in to the account before (core/accounts/browsers.py) has
a count of its own, and so has nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import Index, LargeBinary, delete, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import DateTime

from core.database import Base, transaction
from core.errors import ClofyError, Kind
from core.secrets import sign


@dataclass(frozen=True)
class Window:
    """At most this many tries in any such stretch of time."""

    most: int
    within: timedelta


@dataclass(frozen=True)
class Limit:
    """What is tried. `everybody` is counted from one stretch to the next, the others over any stretch."""

    name: str
    account: tuple[Window, ...] = ()
    ip: tuple[Window, ...] = ()
    everybody: Window | None = None


NETWORKS_OF_ONE = 10  # what a /48 may try, in tries of a /64: below what all may, so that one host does not use that up
FIVE_MINUTES, HOUR, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)

# security.md 12 and 29 give the numbers by account and of all; by address they leave room for an office behind one.
SIGN_IN = Limit(
    "sign-in",
    account=(Window(10, FIVE_MINUTES), Window(30, HOUR), Window(100, DAY)),
    ip=(Window(30, FIVE_MINUTES), Window(100, HOUR), Window(500, DAY)),
    everybody=Window(1000, FIVE_MINUTES),
)
_GUESSES = (Window(5, FIVE_MINUTES), Window(20, HOUR), Window(50, DAY))
CODE_GUESSES = Limit("code-guesses", account=_GUESSES, ip=_GUESSES, everybody=Window(1000, FIVE_MINUTES))
# Registering, asking for a code, asking for a reset: each may send a mail to somebody who did not ask for it.
MAILS = Limit("mails", ip=(Window(30, FIVE_MINUTES), Window(100, HOUR), Window(300, DAY)))


# What costs us more than it costs to ask for.
METER = Limit("meter", ip=(Window(200, FIVE_MINUTES),))  # of passwords, as they are typed
CHALLENGES = Limit("challenges", ip=(Window(100, FIVE_MINUTES), Window(500, HOUR)))  # of passkeys, a row each
CONSULTATIONS = Limit("consultations", account=(Window(60, FIVE_MINUTES), Window(500, DAY)))
PAPERS = Limit("papers", account=(Window(60, FIVE_MINUTES), Window(300, HOUR)))  # PDFs and CSVs
# Mails that an owner of a team has us write to anybody: by the owner, and by who gets them.
TEAM_INVITATIONS = Limit("team-invitations", account=(Window(20, HOUR), Window(50, DAY)), ip=MAILS.ip)
INVITED = Limit("invited", account=(Window(5, DAY),))
TEAM_LOOKS = Limit("team-looks", account=(Window(60, FIVE_MINUTES), Window(1000, DAY)))  # a row for each member


class TooManyTries(ClofyError):
    """That was tried too often; wait a little."""

    kind = Kind.TOO_MANY
    shown = ("retry_after",)

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(retry_after=round(retry_after, 1))
        self.retry_after = retry_after


class LimitCount(Base):
    """The tries of late, by the keyed hash of what is limited. Lives until the longest window has passed, a day."""

    __tablename__ = "limit_counts"
    __table_args__ = (Index("ix_limit_counts_forget_at", "forget_at"),)

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    tries: Mapped[list[datetime]] = mapped_column(ARRAY(DateTime(timezone=True)), server_default="{}")
    counted: Mapped[int] = mapped_column(server_default="0")  # where each is not remembered: those of everybody
    forget_at: Mapped[datetime]


@dataclass(frozen=True)
class Try:
    """One that was counted: what it was counted by, and when."""

    account: bytes | None
    ip: bytes | None
    at: datetime | None
    wide: bytes | None = None


def _key(limit: Limit, *parts: str) -> bytes:
    """Keyed, so that the table does not tell which accounts and addresses were tried."""
    return sign("\0".join(("limit", limit.name, *parts)).encode("utf-8", "surrogateescape"))


def network(ip: str) -> str:
    """Whose address it is: a subscriber of IPv6 has a whole /64."""
    try:
        address = ip_address(ip)
    except ValueError:
        return ip
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


def _wide_network(ip: str) -> str | None:
    """What a site of IPv6 may have altogether, a /48 with 65,536 of those; None for other addresses."""
    try:
        address = ip_address(ip)
    except ValueError:
        return None
    is_wide = isinstance(address, IPv6Address) and address.ipv4_mapped is None
    return str(ip_network((address, 48), strict=False)) if is_wide else None


_COUNT = text("""
    insert into limit_counts as known (key, tries, forget_at)
    values (:key, array[now()], now() + :longest)
    on conflict (key) do update set forget_at = excluded.forget_at, tries = (
        select array_agg(one order by one) from unnest(known.tries || excluded.tries) as one
        where one > now() - :longest
    )
    returning tries, now()
""")
_COUNT_ALL = text("""
    insert into limit_counts as known (key, counted, forget_at) values (:key, 1, now() + :within)
    on conflict (key) do update set counted = known.counted + 1 returning counted
""")
_GIVE_BACK = text("update limit_counts set tries = array_remove(tries, :at) where key = :key")


async def admit(limit: Limit, *, account: str | None, ip: str, browser: str = "") -> Try:
    """Count a try, or raise TooManyTries and count nothing. Opens its own transaction: a failure uncounts no try.

    account: its normalised address (Account.email_key), whether or not there is such an account; None: not counted
    ip: as `Caller.ip`; empty where there is no network, and then not counted
    browser: the mark of a browser that the account is known in, as core/accounts/browsers.py checked it
    Parallel tries wait for each other, so that not one more gets through than is allowed.
    """
    of_account = _key(limit, "account", account, browser) if account is not None and limit.account else None
    of_ip = _key(limit, "ip", network(ip)) if ip and limit.ip else None
    wide = _wide_network(ip)
    of_wide = _key(limit, "wide", wide) if wide is not None and limit.ip else None
    at = None
    async with transaction() as session:
        if of_account is not None:
            at = await _count(session, of_account, limit.account)
        if of_ip is not None:
            at = await _count(session, of_ip, limit.ip)
        if of_wide is not None:
            at = await _count(session, of_wide, [Window(limit.ip[0].most * NETWORKS_OF_ONE, limit.ip[0].within)])
        if limit.everybody is not None and not browser:
            await _count_all(session, limit, limit.everybody)
    return Try(account=of_account, ip=of_ip, at=at, wide=of_wide)


async def _count(session: AsyncSession, key: bytes, windows: Sequence[Window]) -> datetime:
    longest = max(window.within for window in windows)
    tries, now = (await session.execute(_COUNT, {"key": key, "longest": longest})).one()
    tries.remove(now)
    waits = [_wait(tries, window, now) for window in windows]
    if (wait := max(waits)) > timedelta(0):
        raise TooManyTries(retry_after=max(wait.total_seconds(), 1.0))
    at: datetime = now
    return at


def _wait(before: Sequence[datetime], window: Window, now: datetime) -> timedelta:
    """How long until one more fits into the window, given the tries before, oldest first."""
    recent = [one for one in before if one > now - window.within]
    return recent[-window.most] + window.within - now if len(recent) >= window.most else timedelta(0)


async def _count_all(session: AsyncSession, limit: Limit, window: Window) -> None:
    """The last to be counted, for all wait for this one row."""
    now: datetime = (await session.execute(text("select now()"))).scalar_one()
    stretch = int(now.timestamp() // window.within.total_seconds())
    facts = {"key": _key(limit, "everybody", str(stretch)), "within": window.within}
    if (await session.execute(_COUNT_ALL, facts)).scalar_one() > window.most:
        wait = (stretch + 1) * window.within.total_seconds() - now.timestamp()
        raise TooManyTries(retry_after=max(wait, 1.0))


async def succeeded(session: AsyncSession, one: Try, *, clear_account: bool = False) -> None:
    """Take back the count of a try that was none: its own, and no other of the address (security.md 14).

    clear_account: forget all tries for the account, where who succeeded has proven to be its owner
    """
    if one.account is not None and clear_account:
        await session.execute(delete(LimitCount).where(LimitCount.key == one.account))
    for key in (one.account, one.ip, one.wide):
        if key is not None:
            await session.execute(_GIVE_BACK, {"key": key, "at": one.at})
