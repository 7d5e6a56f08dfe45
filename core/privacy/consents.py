"""Whether a browser, and an account, agreed to be counted. No is what counts until somebody says yes.

A visitor's choice is in a cookie that says nothing of who they are; an account's is in rows, which are the proof.
Global Privacy Control in a request is a no, for the browser and for the account that is signed in.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy.consent_models import Purpose, PurposeConsent, Via
from core.privacy.cookies import ASK_AGAIN

WORDS_VERSION = 1  # of WORDS; a change of them is a new one, and everybody is asked anew
WORDS = {
    Purpose.ANALYTICS: "May we count which pages are opened? Only sums of a day are kept: the kind of page, the kind "
    "of browser, and which site led here. No further cookie, no script, and nothing about you."
}
COOKIE = re.compile(r"(?P<wanted>[yn])\.(?P<words>[0-9]{1,4})\.(?P<day>[0-9]{8})")


@dataclass(frozen=True)
class Choice:
    """What somebody said to which words, and on which day."""

    wanted: bool
    words: int
    day: date

    def counts(self, today: date) -> bool:
        """Whether it still does: the words are the same, and it was said within a year."""
        return self.words == WORDS_VERSION and self.day <= today < self.day + ASK_AGAIN


@dataclass(frozen=True)
class Standing:
    """wanted: whether a request may be counted. ask: whether to ask. signal: whether the browser said no by itself."""

    wanted: bool
    ask: bool
    signal: bool


def written(choice: Choice) -> str:
    """As the cookie has it: "y.1.20261124"."""
    return f"{'y' if choice.wanted else 'n'}.{choice.words}.{choice.day:%Y%m%d}"


def read(cookie: str | None) -> Choice | None:
    """None for no cookie, and for one that is not of our making."""
    found = COOKIE.fullmatch(cookie or "")
    if found is None:
        return None
    try:
        day = date.fromisoformat(found["day"])
    except ValueError:
        return None
    return Choice(found["wanted"] == "y", int(found["words"]), day)


def standing(*, browser: Choice | None, account: Choice | None, gpc: bool, dnt: bool, today: date) -> Standing:
    """What follows from all that was said. An account's own word goes before that of the browser it is signed in at."""
    if gpc or dnt:
        return Standing(wanted=False, ask=False, signal=gpc)
    said = account if account is not None and account.counts(today) else browser
    if said is None or not said.counts(today):
        return Standing(wanted=False, ask=True, signal=False)
    return Standing(wanted=said.wanted, ask=False, signal=False)


async def choose(
    session: AsyncSession, *, account_id: UUID, wanted: bool, via: Via, gpc: bool, now: datetime
) -> PurposeConsent:
    """Keep a choice about analytics. One that changes nothing is kept too: it was made."""
    made = PurposeConsent(
        account_id=account_id,
        purpose=Purpose.ANALYTICS,
        wanted=wanted,
        words=WORDS_VERSION,
        via=via,
        gpc=gpc,
        at=now,
    )
    session.add(made)
    await session.flush()
    return made


async def choice(session: AsyncSession, *, account_id: UUID) -> PurposeConsent | None:
    """The latest about analytics; None if there was none yet."""
    mine = (PurposeConsent.account_id == account_id, PurposeConsent.purpose == Purpose.ANALYTICS)
    return await session.scalar(select(PurposeConsent).where(*mine).order_by(PurposeConsent.id.desc()).limit(1))


def plain(kept: PurposeConsent | None) -> Choice | None:
    return Choice(kept.wanted, kept.words, kept.at.astimezone(UTC).date()) if kept else None


async def honour_signal(session: AsyncSession, *, account_id: UUID, now: datetime) -> None:
    """The browser of this account says no: so does the account, which is written down when that is new."""
    latest = await choice(session, account_id=account_id)
    if latest is None or latest.wanted or not latest.gpc:
        await choose(session, account_id=account_id, wanted=False, via=Via.SIGNAL, gpc=True, now=now)


async def of_account(session: AsyncSession, *, account_id: UUID, limit: int = 100) -> list[PurposeConsent]:
    """Newest first."""
    mine = select(PurposeConsent).where(PurposeConsent.account_id == account_id)
    return list(await session.scalars(mine.order_by(PurposeConsent.id.desc()).limit(limit)))
