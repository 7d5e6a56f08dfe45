"""Who was erased: a list that lies outside the database, so that a copy of the database cannot bring anybody back.

It has no name and no number of an account, only a hash of the number; with a copy of the database at hand one can tell
whom it means, and that is all that it is for (core/privacy/restore.py).
"""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from core.media import blobs
from core.media.blobs import Room

MOMENT = "%Y%m%dT%H%M%S.%fZ"


def digest(account_id: UUID) -> str:
    """What the journal calls an account."""
    return hashlib.sha256(b"clofy erased account:" + account_id.bytes).hexdigest()


async def enter(account_id: UUID, at: datetime) -> None:
    """Write down that an account is erased, before its rows go; twice does no harm. Raises StorageAway, NoStorage.

    at: from when on; a moment with its zone
    """
    await blobs.write(Room.JOURNAL, f"{digest(account_id)}/{at.astimezone(UTC):{MOMENT}}", _nothing())


async def _nothing() -> AsyncIterator[bytes]:
    """The name says it all."""
    return
    yield b""


async def entries() -> dict[str, datetime]:
    """The digest of each account that was erased, and when first."""
    found: dict[str, datetime] = {}
    async for page in blobs.pages(Room.JOURNAL):
        for one in page:
            who, _, when = one.name.partition("/")
            at = datetime.strptime(when, MOMENT).replace(tzinfo=UTC)
            found[who] = min(at, found.get(who, at))
    return found
