"""News for all who want them, a batch at a time; it can be stopped between any two, and goes on where it was."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.accounts import profile
from core.errors import ClofyError, Kind, NotFound
from core.jobs import Job, JobState
from core.letters.models import Announcement, AnnouncementState
from core.mail import consents, deliveries
from core.mail.models import Topic
from core.queue import TaskName

BATCH = 50  # mails; a code that somebody waits for is behind at most so many
BATCH_EVERY = timedelta(seconds=5)  # about ten a second, which leaves the queue to other mails in between


class NotNow(ClofyError):
    """Only an announcement that is being sent can be stopped, and only a stopped one can go on."""

    kind = Kind.CONFLICT


async def begin(session: AsyncSession, *, title: str, text: str, made_by: UUID) -> Announcement:
    """Have it written to all who want news, from now on."""
    news = Announcement(title=title, text=text, made_by=made_by)
    session.add(news)
    await session.flush()
    await session.refresh(news)
    await _next(session, news)
    return news


async def _next(session: AsyncSession, news: Announcement, *, delay: timedelta | None = None) -> None:
    """The job of the batch behind the one reached; the next one of a round is written by the one before."""
    await jobs.enqueue(
        session,
        TaskName.ANNOUNCE,
        payload={"announcement_id": str(news.id), "round": news.round},
        key=f"announcement:{news.id}:{news.round}:{news.reached}",
        delay=delay,
    )


async def write_batch(session: AsyncSession, announcement_id: UUID, *, round_number: int) -> dict[str, Any]:
    """Write the next mails, and the job for those after them. Nothing, if it was stopped or went on by another job.

    Twice, or after a crash, each account gets one mail: of its key.
    """
    news = await _locked(session, announcement_id)
    if news.state != AnnouncementState.RUNNING or news.round != round_number:
        return {"written": 0}
    looked_at = await consents.next_choices(session, Topic.ANNOUNCEMENTS, after=news.reached, limit=BATCH)
    wanting = [account_id for account_id, wanted in looked_at if wanted]
    written = 0
    for reader in await profile.reachable(session, wanting):
        written += await deliveries.send(
            session,
            key=f"announcement:{news.id}:{reader.id}",
            account_id=reader.id,
            recipient=reader.email,
            template="announcement",
            facts={"name": reader.name, "title": news.title, "text": news.text},
        )
    news.written += written
    if len(looked_at) == BATCH:
        news.reached = looked_at[-1][0]
        await _next(session, news, delay=BATCH_EVERY)
    else:
        news.state = AnnouncementState.DONE
    await session.flush()
    return {"written": written}


async def stop(session: AsyncSession, announcement_id: UUID) -> Announcement:
    """Write no more of it; what is written goes out. Raises NotFound, NotNow."""
    news = await _locked(session, announcement_id)
    if news.state != AnnouncementState.RUNNING:
        raise NotNow(announcement=announcement_id)
    news.state = AnnouncementState.STOPPED
    await session.flush()
    return news


async def go_on(session: AsyncSession, announcement_id: UUID) -> Announcement:
    """Write to those whom it had not reached. Raises NotFound, NotNow."""
    news = await _locked(session, announcement_id)
    if news.state != AnnouncementState.STOPPED:
        raise NotNow(announcement=announcement_id)
    news.state, news.round = AnnouncementState.RUNNING, news.round + 1
    await session.flush()
    await _next(session, news)
    return news


async def latest(session: AsyncSession, *, limit: int = 20) -> list[Announcement]:
    return list(await session.scalars(select(Announcement).order_by(Announcement.id.desc()).limit(limit)))


async def _locked(session: AsyncSession, announcement_id: UUID) -> Announcement:
    news = await session.get(Announcement, announcement_id, with_for_update=True)
    if news is None:
        raise NotFound(announcement=announcement_id)
    return news


@jobs.on_end(TaskName.ANNOUNCE)
async def batch_ended(session: AsyncSession, job: Job, _outcome: JobState, _reason: str) -> None:
    """A batch was given up: it stands as stopped, for an admin to have it go on."""
    news = await _locked(session, UUID(job.payload["announcement_id"]))
    if news.state == AnnouncementState.RUNNING and news.round == job.payload["round"]:
        news.state = AnnouncementState.STOPPED
        await session.flush()
