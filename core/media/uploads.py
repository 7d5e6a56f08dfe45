"""How a picture arrives: announced, in blocks of one size in any order, and then handed to the workers."""

import unicodedata
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.direct import Hot, Unit
from core.errors import ClofyError, InvalidInput, Kind, NotFound
from core.media.kinds import OF_EXTENSION, kind_of_name
from core.media.models import Media, MediaBlock, MediaState
from core.queue import TaskName

BLOCK = 8 * 1024**2  # bytes of each block but the last
MOST_BYTES = 64 * 1024**2  # of one picture
QUOTA_BYTES = 2 * 1024**3  # of one account, with what it has announced
MOST_OPEN = 50  # uploads of one account that are not at their end
LONGEST_NAME = 200
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, marks that turn the direction of writing, line ends


class QuotaReached(ClofyError):
    """There is no room for more pictures; delete some first."""

    kind = Kind.TOO_MANY


class TooManyUploads(ClofyError):
    """Too many uploads are not finished; finish or delete some first."""

    kind = Kind.TOO_MANY


class NotUploading(ClofyError):
    """This upload is finished."""

    kind = Kind.CONFLICT


class BlocksMissing(ClofyError):
    """Parts of the file have not arrived yet."""

    kind = Kind.CONFLICT
    shown = ("missing",)


def clean_name(name: str) -> str:
    """A name to show: without folders, and without what cannot be seen or misleads the eye."""
    last = name.replace("\\", "/").rpartition("/")[2]
    seen = (one for one in unicodedata.normalize("NFC", last) if unicodedata.category(one) not in UNSEEN)
    return "".join(seen).strip()


async def begin(session: AsyncSession, *, account_id: UUID, name: str, size: int, sha256: bytes | None = None) -> Media:
    """Announce an upload; its bytes count against the quota from now on.

    size: bytes; the upload must have exactly these
    Raises InvalidInput, QuotaReached, TooManyUploads.
    """
    name = clean_name(name)
    if kind_of_name(name) is None:
        raise InvalidInput(field="name", rule=f"must end in {', '.join(f'.{one}' for one in OF_EXTENSION)}")
    if len(name) > LONGEST_NAME:
        raise InvalidInput(field="name", rule=f"must not have more than {LONGEST_NAME} characters")
    # One after the other for each account, or two would see the same room.
    await session.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"media:{account_id}"})
    under_way = Media.state.in_((MediaState.UPLOADING, MediaState.PROCESSING))
    taken, open_now = (
        await session.execute(
            select(func.coalesce(func.sum(Media.size), 0), func.count().filter(under_way)).where(
                Media.account_id == account_id, Media.state != MediaState.REFUSED
            )
        )
    ).one()
    if taken + size > QUOTA_BYTES:
        raise QuotaReached(taken=taken, size=size)
    if open_now >= MOST_OPEN:
        raise TooManyUploads(open=open_now)
    media = Media(account_id=account_id, name=name, size=size, sha256=sha256)
    session.add(media)
    await session.flush()
    return media


def block_count(media: Media) -> int:
    return -(-media.size // BLOCK)


def block_bytes(size: int, number: int) -> int:
    """How many bytes block `number` has, of an upload of `size`. Raises NotFound for one that it does not have."""
    if number >= -(-size // BLOCK):
        raise NotFound(block=number)
    return min(BLOCK, size - number * BLOCK)


_UPLOADING = Hot("select state, size from media where id = :media_id and account_id = :account_id")

# The row is locked, so that none arrives behind the back of `complete`.
_ARRIVED = Hot("""
    with upload as (
        select id, state, size from media where id = :media_id and account_id = :account_id for share
    ), block as (
        insert into media_blocks (media_id, number) select id, cast(:number as integer) from upload
        where state = 'uploading' on conflict do nothing
    )
    select state, size from upload
""")


async def uploading(session: Unit, media_id: UUID, *, account_id: UUID) -> int:
    """How many bytes an upload of this account has that takes blocks. Raises NotFound, NotUploading."""
    return _size(media_id, await _UPLOADING.one(session, media_id=media_id, account_id=account_id))


async def arrived(session: Unit, media_id: UUID, number: int, *, account_id: UUID) -> None:
    """Write down that a block is in the quarantine; twice changes nothing. Raises NotFound, NotUploading."""
    _size(media_id, await _ARRIVED.one(session, media_id=media_id, account_id=account_id, number=number))


def _size(media_id: UUID, row: Any) -> int:
    if row is None:
        raise NotFound(media=media_id)
    state, size = row
    if state != MediaState.UPLOADING:
        raise NotUploading(media=media_id, state=state)
    return int(size)


async def blocks_of(session: AsyncSession, media_id: UUID) -> list[int]:
    """The blocks that have arrived, in order."""
    query = select(MediaBlock.number).where(MediaBlock.media_id == media_id).order_by(MediaBlock.number)
    return list(await session.scalars(query))


async def complete(session: AsyncSession, media_id: UUID, *, account_id: UUID) -> UUID:
    """Hand an upload to the workers, once; returns the job. Raises NotFound, BlocksMissing."""
    own = select(Media).where(Media.id == media_id, Media.account_id == account_id).with_for_update()
    media = await session.scalar(own)
    if media is None:
        raise NotFound(media=media_id)
    if media.job_id is not None:
        return media.job_id
    missing = sorted(set(range(block_count(media))) - set(await blocks_of(session, media_id)))
    if missing:
        raise BlocksMissing(media=media_id, missing=missing)
    facts = {"media_id": str(media_id)}
    job_id = await jobs.enqueue(session, TaskName.PROCESS_MEDIA, payload=facts, account_id=account_id)
    assert job_id is not None
    media.state, media.job_id = MediaState.PROCESSING, job_id
    return job_id
