"""A person's copy of all that is theirs: asked for, made by a job, there for seven days, and gone.

What is in it is in core/privacy/exports_content.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.accounts.profile import get_account
from core.audit import NOBODY, Action, Caller
from core.database import transaction
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState
from core.mail import deliveries
from core.media import blobs
from core.media.blobs import Room
from core.privacy import requests
from core.privacy.exports_content import Counts
from core.privacy.exports_models import IS_BUILDING, Export, ExportState
from core.privacy.request_models import RequestKind
from core.queue import TaskName

LIVES = timedelta(days=7)
LINK_LIVES = timedelta(minutes=10)
MOST_A_DAY = 5
SETTLED = timedelta(hours=1)  # after which a file that no row names belongs to no attempt any more
BATCH = 100
TYPE = "application/zip"


class TooManyExports(ClofyError):
    """You have asked for your data five times within a day. The latest copy is on the page of your data."""

    kind = Kind.TOO_MANY


class ExportGone(ClofyError):
    """This copy is not there: it is not ready, or its seven days are over. You can ask for another one."""

    kind = Kind.NOT_FOUND


async def ask(
    session: AsyncSession,
    account_id: UUID,
    request_id: UUID | None = None,
    *,
    caller: Caller = NOBODY,
    actor_id: UUID | None = None,
) -> UUID:
    """Have a copy made, of all that is the account's. While one is made, asking again is that one.

    request_id: the request that it answers
    actor_id: who asked, if not the account's owner
    Returns its id. Raises TooManyExports.
    """
    under_way = select(Export.id).where(Export.account_id == account_id, Export.state == ExportState.BUILDING)
    # Locked, for one that gets ready at this moment would not answer the request that is being filed.
    found: UUID | None = await session.scalar(under_way.with_for_update())
    if found is not None:
        return found
    lately = select(func.count()).where(
        Export.account_id == account_id, Export.created_at > func.now() - timedelta(days=1)
    )
    if (await session.execute(lately)).scalar_one() >= MOST_A_DAY:
        raise TooManyExports
    job_id = uuid4()
    row = insert(Export).values(account_id=account_id, request_id=request_id, job_id=job_id)
    once = row.on_conflict_do_nothing(index_elements=[Export.account_id], index_where=IS_BUILDING)
    export_id: UUID | None = await session.scalar(once.returning(Export.id))
    if export_id is None:  # somebody was quicker
        return (await session.scalars(under_way)).one()
    payload = {"export_id": str(export_id)}
    await jobs.enqueue(session, TaskName.EXPORT, payload=payload, account_id=account_id, job_id=job_id)
    about = f"export:{export_id}"
    await audit.note(session, Action.EXPORT_ASKED, account_id=account_id, actor_id=actor_id, caller=caller, about=about)
    return export_id


async def latest(session: AsyncSession, account_id: UUID) -> Export | None:
    """The newest of an account, in whatever state."""
    found = await page(session, account_id, limit=1)
    return found[0] if found else None


async def page(session: AsyncSession, account_id: UUID, *, limit: int = 10) -> Sequence[Export]:
    """The account's, newest first."""
    mine = select(Export).where(Export.account_id == account_id)
    return (await session.scalars(mine.order_by(Export.id.desc()).limit(limit))).all()


def ends_at(export: Export) -> datetime | None:
    """When the row and its file go; None while it is made."""
    return None if export.ended_at is None else export.ended_at + LIVES


async def link(export_id: UUID, *, account_id: UUID, now: datetime, caller: Caller) -> str:
    """An address of one's own copy, by which anybody may read it for LINK_LIVES. Raises NotFound, ExportGone."""
    async with transaction() as session:
        export = await _own(session, export_id, account_id=account_id)
        if export.state != ExportState.READY or export.blob is None or (ends_at(export) or now) <= now:
            raise ExportGone(export=export_id, state=export.state)
    day = (export.ended_at or now).astimezone(UTC)
    address = await blobs.link(Room.EXPORTS, export.blob, lives=LINK_LIVES, as_name=f"clofy-cloud-{day:%Y-%m-%d}.zip")
    async with transaction() as session:
        await session.execute(update(Export).where(Export.id == export_id).values(fetched_at=now))
        about = f"export:{export_id}"
        await audit.note(session, Action.EXPORT_FETCHED, account_id=account_id, caller=caller, about=about)
    return address


async def _own(session: AsyncSession, export_id: UUID, *, account_id: UUID) -> Export:
    mine = (Export.id == export_id, Export.account_id == account_id)
    export = await session.scalar(select(Export).where(*mine))
    if export is None:
        raise NotFound(export=export_id)
    return export


def blob_name(export_id: UUID, attempt: int) -> str:
    """Each attempt writes a file of its own, so that two of them never mix."""
    return f"{export_id}-{attempt}.zip"


async def to_make(session: AsyncSession, export_id: UUID) -> Export | None:
    """One that is still to be made; None if it is over, or gone with its account."""
    return await session.scalar(select(Export).where(Export.id == export_id, Export.state == ExportState.BUILDING))


async def progress(session: AsyncSession, export_id: UUID, counts: Counts) -> None:
    """How far it is, for who opens the page meanwhile."""
    still = (Export.id == export_id, Export.state == ExportState.BUILDING)
    values = {"steps": counts.steps, "steps_done": counts.steps_done, "bytes": counts.bytes}
    await session.execute(update(Export).where(*still).values(**values))


async def ready(session: AsyncSession, export_id: UUID, *, blob: str, counts: Counts, now: datetime) -> bool:
    """It is made: its owner may fetch it, and older ones give way (erase_replaced). False if nobody waits for it."""
    export = await _locked(session, Export.id == export_id)
    if export is None:
        return False
    export.state, export.blob, export.ended_at = ExportState.READY, blob, now
    export.steps = export.steps_done = counts.steps
    export.rows, export.files, export.missing, export.bytes = counts.rows, counts.files, counts.missing, counts.bytes
    await session.flush()
    older = (Export.account_id == export.account_id, Export.state == ExportState.READY, Export.id != export_id)
    await session.execute(update(Export).where(*older).values(state=ExportState.REPLACED))
    await audit.note(session, Action.EXPORT_READY, account_id=export.account_id, about=f"export:{export_id}")
    until = now.astimezone(UTC) + LIVES
    await requests.export_ended(session, account_id=export.account_id, is_ready=True, now=now)
    await _tell(session, export, "export_ready", until=f"{until:%-d %B %Y, %H:%M} UTC", size=in_words(counts.bytes))
    return True


@jobs.on_end(TaskName.EXPORT)
async def _given_up(session: AsyncSession, job: Job, state: JobState, reason: str) -> None:
    export = await _locked(session, Export.job_id == job.id)
    if export is None:
        return
    export.state, export.reason, export.ended_at = ExportState.FAILED, reason, await jobs.now_of(session)
    await session.flush()
    await requests.export_ended(session, account_id=export.account_id, is_ready=False, now=export.ended_at)
    if state == JobState.FAILED:
        await _tell(session, export, "export_failed")


async def _locked(session: AsyncSession, which: ColumnElement[bool]) -> Export | None:
    """One that is still to be made; before it, as who asks does, the requests that its end will answer."""
    still = select(Export).where(which, Export.state == ExportState.BUILDING)
    if (export := await session.scalar(still)) is None:
        return None
    for kind in (RequestKind.ACCESS, RequestKind.PORTABILITY):
        if (request := await requests.standing(session, account_id=export.account_id, kind=kind)) is not None:
            await requests.locked(session, request.id)
    return await session.scalar(still.with_for_update().execution_options(populate_existing=True))


async def _tell(session: AsyncSession, export: Export, template: str, **facts: str) -> None:
    account = await get_account(session, account_id=export.account_id)
    await deliveries.send(
        session,
        key=f"{template}:{export.id}",
        account_id=account.id,
        recipient=account.email,
        template=template,
        facts={"name": account.name, **facts},
    )


def in_words(size: int) -> str:
    """Bytes as people read them."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["kB", "MB", "GB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:.1f} {units[0]}"


async def erase_replaced(account_id: UUID) -> None:
    """Delete the files of copies that a later one has replaced."""
    replaced = (Export.account_id == account_id, Export.state == ExportState.REPLACED, Export.blob.is_not(None))
    async with transaction() as session:
        found = list(await session.scalars(select(Export).where(*replaced)))
    await _erase_files(found)
    async with transaction() as session:
        await session.execute(update(Export).where(Export.id.in_([one.id for one in found])).values(blob=None))


async def discard_all(account_id: UUID) -> int:
    """Stop what is made and delete all copies of an account, files first; how many there were. Twice does no harm.

    One that is being written meanwhile is deleted by its own attempt, which finds nobody waiting for it.
    """
    async with transaction() as session:
        found = list(await session.scalars(select(Export).where(Export.account_id == account_id)))
        for export in found:
            if export.state == ExportState.BUILDING:
                await jobs.cancel(session, export.job_id, account_id=account_id)
    await _erase_files(found)
    async with transaction() as session:
        await session.execute(delete(Export).where(Export.account_id == account_id))
    return len(found)


async def discard_old(now: datetime) -> dict[str, int]:
    """Delete copies whose seven days are over, and files of attempts that came to nothing; how many of each.

    A legal hold keeps records, not copies of them. Raises StorageAway, NoStorage.
    """
    ended = select(Export).where(Export.ended_at <= now - LIVES).order_by(Export.ended_at).limit(BATCH)
    count = 0
    while True:
        async with transaction() as session:
            found = list(await session.scalars(ended))
        if not found:
            break
        await _erase_files(found)
        async with transaction() as session:
            await session.execute(delete(Export).where(Export.id.in_([one.id for one in found])))
        count += len(found)
    return {"exports": count, "orphaned_files": await _erase_orphans(now)}


async def _erase_files(exports: Sequence[Export]) -> None:
    """Of all attempts, also of those that nobody knows of any more."""
    for export in exports:
        async for found in blobs.pages(Room.EXPORTS, begins=f"{export.id}-"):
            for one in found:
                await blobs.erase(Room.EXPORTS, one.name)


async def _erase_orphans(now: datetime) -> int:
    count = 0
    async for found in blobs.pages(Room.EXPORTS):
        old = [one.name for one in found if one.modified_at < now - SETTLED]
        async with transaction() as session:
            named = set(await session.scalars(select(Export.blob).where(Export.blob.in_(old))))
        for name in set(old) - named:
            await blobs.erase(Room.EXPORTS, name)
            count += 1
    return count
