"""The pictures that are there: how they end, how they are found, who uses them, how they go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState
from core.media.kinds import Reason
from core.media.models import Media, MediaFile, MediaState, MediaUse
from core.media.workshop import Made
from core.queue import TaskName

TYPES = {"avif": "image/avif", "webp": "image/webp"}  # best first: a browser takes the first that it knows


class MediaInUse(ClofyError):
    """This picture is shown somewhere; take it away there first."""

    kind = Kind.CONFLICT
    shown = ("used_by",)


@dataclass(frozen=True)
class Picture:
    """A picture with its files, the narrowest first."""

    media: Media
    files: Sequence[MediaFile]

    def srcset(self, extension: str) -> str:
        """For `<source srcset>`: "avif" or "webp"."""
        return ", ".join(f"{url_of(one.name)} {one.width}w" for one in self.files if one.name.endswith(extension))

    @property
    def src(self) -> str:
        """For those who choose nothing: the widest WebP, which every browser of today shows."""
        return url_of(next(one.name for one in reversed(self.files) if one.name.endswith("webp")))


def url_of(name: str) -> str:
    """On our own host; an edge may have the container's content under the same path."""
    return f"/media/{name}"


async def ready(session: AsyncSession, media: Media, made: Made) -> None:
    """The files are in their place; from now on everybody may be shown them."""
    media.state = MediaState.READY
    media.width, media.height, media.colour = made.width, made.height, made.colour
    files = {one.name: one for one in made.files}  # two widths of a plain colour may be the same file
    media.size = sum(one.size for one in files.values())
    session.add_all(
        MediaFile(media_id=media.id, name=one.name, width=one.width, height=one.height, size=one.size)
        for one in files.values()
    )
    await session.flush()


def refuse(media: Media, reason: Reason) -> None:
    media.state, media.reason = MediaState.REFUSED, reason


async def to_work_on(session: AsyncSession, media_id: UUID, *, lock: bool = False) -> Media | None:
    """A picture that waits for a worker; None if it was deleted, or has its end."""
    query = select(Media).where(Media.id == media_id, Media.state == MediaState.PROCESSING)
    return await session.scalar(query.with_for_update() if lock else query)


@jobs.on_end(TaskName.PROCESS_MEDIA)
async def _given_up(session: AsyncSession, job: Job, _state: JobState, _reason: str) -> None:
    media = await to_work_on(session, UUID(job.payload["media_id"]), lock=True)
    if media is not None:
        refuse(media, Reason.FAILED)


async def pictures(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Picture]:
    """Those of them that are ready, by id."""
    found = await session.scalars(select(Media).where(Media.id.in_(list(ids)), Media.state == MediaState.READY))
    return {one.media.id: one for one in await _with_files(session, list(found))}


async def of_files(session: AsyncSession, names: Iterable[str]) -> dict[str, Picture]:
    """The pictures that these files are of, by the name of the file; of twins the latest."""
    rows = await session.execute(
        select(MediaFile.name, MediaFile.media_id).where(MediaFile.name.in_(list(names))).order_by(MediaFile.media_id)
    )
    ids = {row.name: row.media_id for row in rows}
    found = await pictures(session, ids.values())
    return {name: found[media_id] for name, media_id in ids.items()}


async def get(session: AsyncSession, media_id: UUID) -> Picture:
    """In whatever state it is. Raises NotFound."""
    media = await session.get(Media, media_id)
    if media is None:
        raise NotFound(media=media_id)
    return (await _with_files(session, [media]))[0]


async def page(session: AsyncSession, *, part: str = "", after: UUID | None = None, limit: int = 50) -> list[Picture]:
    """The latest first. part: of the name; after: the last id of the page before."""
    query = select(Media).order_by(Media.id.desc()).limit(limit)
    if part:
        query = query.where(func.strpos(func.lower(Media.name), part.lower()) > 0)
    if after is not None:
        query = query.where(Media.id < after)
    return await _with_files(session, list(await session.scalars(query)))


async def _with_files(session: AsyncSession, media: Sequence[Media]) -> list[Picture]:
    query = select(MediaFile).where(MediaFile.media_id.in_([one.id for one in media]))
    of: dict[UUID, list[MediaFile]] = {one.id: [] for one in media}
    for file in await session.scalars(query.order_by(MediaFile.width, MediaFile.name)):
        of[file.media_id].append(file)
    return [Picture(one, of[one.id]) for one in media]


async def use(session: AsyncSession, *, used_by: str, ids: Iterable[UUID]) -> None:
    """Say which pictures something shows, instead of what it said before; what is shown is not deleted.

    used_by: as "post:<id>"
    Raises NotFound if one of them is not ready.
    """
    wanted = set(ids)
    missing = wanted - set(
        await session.scalars(
            select(Media.id).where(Media.id.in_(wanted), Media.state == MediaState.READY).with_for_update(read=True)
        )
    )
    if missing:
        raise NotFound(media=min(missing))
    await session.execute(delete(MediaUse).where(MediaUse.used_by == used_by, MediaUse.media_id.not_in(wanted)))
    if wanted:
        rows = [{"media_id": one, "used_by": used_by} for one in sorted(wanted)]
        await session.execute(insert(MediaUse).values(rows).on_conflict_do_nothing())


async def remove(session: AsyncSession, media_id: UUID) -> Media:
    """Delete a picture, or stop its upload; the sweep takes its files away. Returns it as it was.

    Raises NotFound, MediaInUse.
    """
    media = await session.get(Media, media_id, with_for_update=True)
    if media is None:
        raise NotFound(media=media_id)
    users = await session.scalars(select(MediaUse.used_by).where(MediaUse.media_id == media_id))
    if used_by := sorted(users):
        raise MediaInUse(media=media_id, used_by=used_by)
    await session.delete(media)
    return media
