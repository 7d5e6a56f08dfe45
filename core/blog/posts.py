"""A post in its editors' hands: each save a revision, never over somebody else's; and the way from draft to archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from core import jobs
from core.blog import front_matter, gate, pages
from core.blog.differences import Part, merged, three_way
from core.blog.models import Post, PostRevision, PostState
from core.blog.rendering import Rendered, render
from core.errors import ClofyError, InvalidInput, Kind, NotFound
from core.media import library
from core.queue import TaskName

LONGEST = 50_000  # characters of a source
MOST_LINES = 2_000  # of a source: two that differ in all of them are compared within a second
PAGE = 50
REVISIONS = 200  # that are listed
PUBLIC = (PostState.PUBLISHED, PostState.UNLISTED)


class EditedMeanwhile(ClofyError):
    """Somebody else has changed this post since you opened it. Nothing is lost: see what you both did."""

    kind = Kind.CONFLICT
    shown = ("version", "theirs", "merged", "difference")


class NotReady(ClofyError):
    """This post cannot be published yet."""

    kind = Kind.CONFLICT
    shown = ("findings",)


@dataclass(frozen=True)
class Draft:
    """A post with the text of its latest revision, and what keeps it from being published."""

    post: Post
    source: front_matter.Source
    text: str
    rendered: Rendered
    findings: Sequence[str]


async def create(session: AsyncSession, *, source: str, made_by: UUID) -> Post:
    _check(source)
    post = Post(state=PostState.DRAFT, version=1)
    session.add(post)
    await session.flush()
    session.add(PostRevision(post_id=post.id, number=1, based_on=0, source=source, made_by=made_by))
    await session.flush()
    await session.refresh(post)
    return post


async def save(session: AsyncSession, post_id: UUID, *, source: str, version: int, made_by: UUID) -> Post:
    """Add a revision upon the one of number `version`; the same text again adds none.

    Raises NotFound; EditedMeanwhile, with the three-way difference, if there is a newer one: then `keep_aside`.
    """
    _check(source)
    post = await _locked(session, post_id)
    theirs = await _text(session, post_id, post.version)
    if theirs == source:
        return post
    if version != post.version:
        base = await _text(session, post_id, version)
        parts = three_way(base, source, theirs)
        raise EditedMeanwhile(
            version=post.version, theirs=theirs, merged=merged(parts), difference=[_told(part) for part in parts]
        )
    await _add(session, post, source=source, made_by=made_by)
    return post


async def keep_aside(session: AsyncSession, post_id: UUID, *, source: str, version: int, made_by: UUID) -> None:
    """Keep a text that came too late beside the others, once, in a transaction of its own."""
    same = select(PostRevision.id).where(
        PostRevision.post_id == post_id, PostRevision.made_by == made_by, PostRevision.source == source
    )
    if await session.scalar(same.limit(1)) is None:
        session.add(
            PostRevision(post_id=post_id, number=None, based_on=version, source=source, made_by=made_by),
        )
        await session.flush()


async def restore(session: AsyncSession, post_id: UUID, *, revision_id: UUID, version: int, made_by: UUID) -> Post:
    """Make the text of an older revision, or of one that was kept aside, the latest. As `save`."""
    old = await session.scalar(
        select(PostRevision).where(PostRevision.id == revision_id, PostRevision.post_id == post_id)
    )
    if old is None:
        raise NotFound(revision=revision_id)
    return await save(session, post_id, source=old.source, version=version, made_by=made_by)


async def move(
    session: AsyncSession, post_id: UUID, *, to: PostState, version: int, now: datetime, at: datetime | None = None
) -> Post:
    """Bring a post to a state; where it is already, with this very text, nothing happens.

    at: when, for SCHEDULED; in the future. What is public of the post stays as it is until then.
    Raises NotFound, EditedMeanwhile (the text is not the one that was looked at), NotReady, InvalidInput.
    """
    if (at is not None) != (to is PostState.SCHEDULED):
        raise InvalidInput(field="at", rule="is for what is scheduled, and needed there")
    if at is not None and at <= now:
        raise InvalidInput(field="at", rule="must be in the future")
    post = await _locked(session, post_id)
    if version != post.version:
        theirs = await _text(session, post_id, post.version)
        raise EditedMeanwhile(version=post.version, theirs=theirs, merged=theirs, difference=[])
    if to in (*PUBLIC, PostState.SCHEDULED):
        draft = await look(session, post)
        if draft.findings:
            raise NotReady(findings=draft.findings)
        if to is PostState.SCHEDULED:
            await _schedule(session, post, draft, at)
        else:
            await pages.take_slug(session, post.id, draft.source.slug)
            await _publish(session, post, draft, listed=to is PostState.PUBLISHED, now=now)
    elif post.state != to:
        await pages.withdraw(session, post.id)
    if post.state != to or post.scheduled_at != at:
        post.state, post.scheduled_at, post.updated_at = to, at, now
        await session.flush()
    return post


async def call_off(session: AsyncSession, post_id: UUID, *, now: datetime) -> Post:
    """Take its time away from a scheduled post; what is public of it stays as it is. Twice changes nothing.

    Raises NotFound.
    """
    post = await _locked(session, post_id)
    if post.state == PostState.SCHEDULED:
        await _unschedule(session, post, now=now)
    return post


async def publish_due(session: AsyncSession, post_id: UUID, *, now: datetime) -> bool:
    """Publish what was scheduled, as it is when its time has come; returns whether this call did it.

    One that was changed since, and is no longer fit for it, is called off.
    """
    post = await session.get(Post, post_id, with_for_update=True)
    if post is None or post.state != PostState.SCHEDULED or post.scheduled_at is None or post.scheduled_at > now:
        return False
    draft = await look(session, post)
    if draft.findings:
        await _unschedule(session, post, now=now)
        return False
    await pages.take_slug(session, post.id, draft.source.slug)
    await _publish(session, post, draft, listed=True, now=now)
    post.state, post.scheduled_at, post.updated_at = PostState.PUBLISHED, None, now
    await session.flush()
    return True


async def look(session: AsyncSession, post: Post) -> Draft:
    text = await _text(session, post.id, post.version)
    return await examine(session, text, post=post)


async def examine(session: AsyncSession, text: str, *, post: Post) -> Draft:
    """Take a text apart, as the preview of this post shows it."""
    source = front_matter.read(text)
    rendered = render(source.body)
    dead = [f"/blog/{slug}" for slug in await pages.unknown(session, gate.slugs_linked(rendered) - {source.slug})]
    pictures = await library.of_files(session, gate.files(source, rendered))
    findings = gate.findings(source, rendered, dead_links=sorted(dead), pictures=pictures)
    owner = await pages.owner_of(session, source.slug) if source.slug else None
    if owner is not None and owner != post.id:
        findings.append("The slug is, or was, that of another post.")
    return Draft(post, source, text, rendered, findings)


async def get(session: AsyncSession, post_id: UUID) -> Post:
    post = await session.get(Post, post_id)
    if post is None:
        raise NotFound(post=post_id)
    return post


async def listed(session: AsyncSession, *, after: UUID | None = None) -> list[tuple[Post, str]]:
    """All posts with their sources, the newest first."""
    query = select(Post, PostRevision.source).join(
        PostRevision, (PostRevision.post_id == Post.id) & (PostRevision.number == Post.version)
    )
    if after is not None:
        query = query.where(Post.id < after)
    return [(post, text) for post, text in await session.execute(query.order_by(Post.id.desc()).limit(PAGE))]


async def revisions(session: AsyncSession, post_id: UUID, *, limit: int = REVISIONS) -> Sequence[PostRevision]:
    """The latest first, those that were kept aside among them; without their sources, which `revision` gives."""
    mine = select(PostRevision).where(PostRevision.post_id == post_id)
    mine = mine.options(defer(PostRevision.source, raiseload=True))
    return (await session.scalars(mine.order_by(PostRevision.id.desc()).limit(limit))).all()


async def revision(session: AsyncSession, post_id: UUID, revision_id: UUID) -> PostRevision:
    query = select(PostRevision).where(PostRevision.post_id == post_id, PostRevision.id == revision_id)
    found = await session.scalar(query)
    if found is None:
        raise NotFound(revision=revision_id)
    return found


def _check(source: str) -> None:
    if len(source) > LONGEST:
        raise InvalidInput(field="source", rule=f"may have at most {LONGEST:,} characters")
    if source.count("\n") >= MOST_LINES:
        raise InvalidInput(field="source", rule=f"may have at most {MOST_LINES:,} lines")
    if "\0" in source:
        raise InvalidInput(field="source", rule="must not contain NUL")


async def _locked(session: AsyncSession, post_id: UUID) -> Post:
    post = await session.get(Post, post_id, with_for_update=True)
    if post is None:
        raise NotFound(post=post_id)
    return post


async def _text(session: AsyncSession, post_id: UUID, number: int) -> str:
    query = select(PostRevision.source).where(PostRevision.post_id == post_id, PostRevision.number == number)
    found = await session.scalar(query)
    if found is None:
        raise InvalidInput(field="If-Match", rule="must be the version that you had before")
    return found


async def _add(session: AsyncSession, post: Post, *, source: str, made_by: UUID) -> None:
    session.add(
        PostRevision(post_id=post.id, number=post.version + 1, based_on=post.version, source=source, made_by=made_by)
    )
    post.version += 1
    post.updated_at = await jobs.now_of(session)
    await session.flush()


async def _schedule(session: AsyncSession, post: Post, draft: Draft, at: datetime | None) -> None:
    """A job for each time that is chosen: one that was given up for another time finds nothing to do."""
    assert at is not None
    if await pages.public_of(session, post.id) is None:
        # A public post gets a new address when that is published: it would lead to the old one for ever until then.
        await pages.take_slug(session, post.id, draft.source.slug)
    await jobs.enqueue(
        session,
        TaskName.PUBLISH_POST,
        payload={"post": str(post.id)},
        key=f"publish:{post.id}:{at.isoformat()}",
        delay=at - await jobs.now_of(session),
    )


async def _unschedule(session: AsyncSession, post: Post, *, now: datetime) -> None:
    """Back to what the public sees of it, or to review."""
    public = await pages.public_of(session, post.id)
    post.state = PostState.REVIEW if public is None else public.state
    post.scheduled_at, post.updated_at = None, now
    await session.flush()


async def _publish(session: AsyncSession, post: Post, draft: Draft, *, listed: bool, now: datetime) -> None:
    post.published_at = post.published_at or now
    await pages.put(session, post, draft.source, draft.rendered, listed=listed, now=now, published_at=post.published_at)


def _told(part: Part) -> dict[str, object]:
    return {"side": part.side, "base": list(part.base), "mine": list(part.mine), "theirs": list(part.theirs)}
