"""Storage and rows compared, both ways: what nobody knows goes, and what is not there is told."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select

from core.database import transaction
from core.media import blobs
from core.media.blobs import Room
from core.media.models import Media, MediaFile, MediaState

PATIENCE = timedelta(days=1)  # that an upload may rest, and a refusal be read
SETTLED = timedelta(hours=1)  # files are put in place before their rows are written


async def forget_abandoned(*, now: datetime) -> int:
    """Delete uploads that were not finished, and refused ones, of the day before; how many."""
    old = (Media.created_at < now - PATIENCE) & Media.state.in_((MediaState.UPLOADING, MediaState.REFUSED))
    async with transaction() as session:
        gone = (await session.scalars(delete(Media).where(old).returning(Media.id))).all()
    return len(gone)


async def empty(room: Room, *, now: datetime) -> int:
    """Delete blobs that no row needs, how many. One that is written again meanwhile stays."""
    gone = 0
    async for page in blobs.pages(room):
        settled = {one.name: one for one in page if one.modified_at < now - SETTLED}
        for name in settled.keys() - await _needed(room, settled.keys()):
            gone += await blobs.remove(room, settled[name])
    return gone


async def _needed(room: Room, names: Collection[str]) -> set[str]:
    async with transaction() as session:
        if room is Room.PUBLIC:
            return set(await session.scalars(select(MediaFile.name).where(MediaFile.name.in_(names))))
        ids = [one for name in names if (one := _id(name)) is not None]
        under_way = Media.state.in_((MediaState.UPLOADING, MediaState.PROCESSING))
        return {str(one) for one in await session.scalars(select(Media.id).where(Media.id.in_(ids), under_way))}


def _id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


async def missing() -> list[str]:
    """Files that rows promise and the storage does not have."""
    async with transaction() as session:
        promised = set(await session.scalars(select(MediaFile.name).distinct()))
    async for page in blobs.pages(Room.PUBLIC):
        promised -= {one.name for one in page}
    return sorted(promised)
