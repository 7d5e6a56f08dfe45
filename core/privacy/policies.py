"""Versions of our documents: published with a hash and a date, never changed, each readable for ever.

What pages show is the version in force, from its row. The templates (figures.py) are only what the next version would
say; where they say something else than the newest version, an operator is told to publish it.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account
from core.blog.differences import Part, three_way
from core.database import after_commit, transaction
from core.errors import ClofyError, Kind, NotFound
from core.privacy.figures import NOTICE, text_of
from core.privacy.policy_models import Document, PolicyVersion, Weight

TOLD_IN_AN_HOUR = 10_000  # accounts, at least: policy_letters.py writes 500 a minute where nothing is in its way
LOOKED_AT_EVERY = 5.0  # seconds between two looks of a process at what is published


class NothingChanged(ClofyError):
    """This document says what its newest version says: there is nothing to publish."""

    kind = Kind.CONFLICT


class TooSoon(ClofyError):
    """A material change takes effect a month after all have been told of it, and no version before an earlier one."""

    kind = Kind.INVALID


@dataclass(frozen=True)
class Version:
    """A published version without its text."""

    document: Document
    number: int
    weight: Weight
    summary: str
    hash: bytes
    effective_at: datetime
    published_at: datetime

    def is_in_force(self, now: datetime) -> bool:
        return self.effective_at <= now

    @property
    def path(self) -> str:
        return f"/{self.document}/versions/{self.number}"


def hash_of(words: str) -> bytes:
    return hashlib.sha256(words.encode()).digest()


async def earliest(session: AsyncSession, *, now: datetime) -> datetime:
    """When a material change may take effect: all accounts are told, and then have a month."""
    accounts = await session.scalar(select(func.count()).select_from(Account)) or 0
    return now + NOTICE + timedelta(hours=accounts / TOLD_IN_AN_HOUR)


async def publish(
    session: AsyncSession, document: Document, *, weight: Weight, summary: str, effective_at: datetime, now: datetime
) -> PolicyVersion:
    """Make what this code says of a document its next version; accounts are told from now on.

    Raises NothingChanged, TooSoon.
    """
    await _one_at_a_time(session)
    words, newest = text_of(document), await _newest(session, document)
    if newest is None:
        weight, number = Weight.FIRST, 1
    else:
        if newest.hash == hash_of(words):
            raise NothingChanged(document=document, number=newest.number)
        if effective_at < newest.effective_at:
            raise TooSoon(document=document, at_the_earliest=newest.effective_at)
        number = newest.number + 1
    at_the_earliest = await earliest(session, now=now) if weight is Weight.MATERIAL else now
    if effective_at < at_the_earliest:
        raise TooSoon(document=document, at_the_earliest=at_the_earliest)
    version = PolicyVersion(
        document=document,
        number=number,
        weight=weight,
        summary=summary,
        text=words,
        hash=hash_of(words),
        effective_at=effective_at,
        published_at=now,
        all_told_at=now if weight is Weight.FIRST else None,
    )
    session.add(version)
    await session.flush()
    after_commit(session, forget)
    return version


async def publish_first(session: AsyncSession, *, now: datetime) -> list[Document]:
    """The first version of each document that has none; of which documents."""
    await _one_at_a_time(session)
    missing = [one for one in Document if await _newest(session, one) is None]
    for one in missing:
        await publish(session, one, weight=Weight.FIRST, summary="The first version.", effective_at=now, now=now)
    return missing


async def _one_at_a_time(session: AsyncSession) -> None:
    await session.execute(text("select pg_advisory_xact_lock(hashtext('policy_versions'))"))


async def _newest(session: AsyncSession, document: Document) -> PolicyVersion | None:
    of_document = select(PolicyVersion).where(PolicyVersion.document == document)
    return await session.scalar(of_document.order_by(PolicyVersion.number.desc()).limit(1))


async def unpublished(session: AsyncSession) -> list[Document]:
    """Documents of which this code says something else than the newest version, or that have none."""
    changed = []
    for one in Document:
        newest = await _newest(session, one)
        if newest is None or newest.hash != hash_of(text_of(one)):
            changed.append(one)
    return changed


class _Known:
    """What this process last saw published. It is little, changes a few times a year, and each page asks for it."""

    versions: Sequence[Version] = ()
    looked_at: float | None = None


def forget() -> None:
    """Look anew at the next question."""
    _Known.looked_at = None


async def versions(document: Document | None = None) -> Sequence[Version]:
    """All that is published, or all of a document, the oldest first; as it was at most five seconds ago."""
    moment = time.monotonic()
    if _Known.looked_at is None or moment - _Known.looked_at > LOOKED_AT_EVERY:
        async with transaction() as session:
            rows = await session.scalars(select(PolicyVersion).order_by(PolicyVersion.document, PolicyVersion.number))
            _Known.versions = [_plain(row) for row in rows]
        _Known.looked_at = moment
    return [one for one in _Known.versions if document in (None, one.document)]


def _plain(row: PolicyVersion) -> Version:
    return Version(
        Document(row.document),
        row.number,
        Weight(row.weight),
        row.summary,
        row.hash,
        row.effective_at,
        row.published_at,
    )


async def current(document: Document, *, now: datetime) -> Version:
    """The version in force. Raises NotFound before the first is published."""
    for one in reversed(await versions(document)):
        if one.is_in_force(now):
            return one
    raise NotFound(document=document)


async def coming(document: Document, *, now: datetime) -> Version | None:
    """The next version that is published and not in force yet."""
    return next((one for one in await versions(document) if not one.is_in_force(now)), None)


async def text_of_version(session: AsyncSession, document: Document, number: int) -> str:
    """Raises NotFound."""
    found = await session.get(PolicyVersion, (document, number))
    if found is None:
        raise NotFound(document=document, number=number)
    return found.text


@lru_cache(maxsize=64)
def difference(before: str, after: str) -> Sequence[Part]:
    """What was changed, line by line: `base` is how it was, `mine` how it is."""
    return three_way(before, after, before)
