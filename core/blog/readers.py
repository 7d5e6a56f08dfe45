"""What readers do: they read, like and comment.

These are the "blog interactions" of the privacy policy: an account's own are given to it (`export`) and forgotten with
it (`forget`). Readings are of nobody: they are counted, and who was counted is known by a hash for a day at most.
"""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core import limits
from core.blog import pages
from core.blog.models import CommentState, PostComment, PostLike, PostPage, PostReader, PostReading
from core.errors import ClofyError, Kind, NotFound
from core.limits import Limit, Window
from core.secrets import sign

LONGEST = 4_000  # characters of a comment
KINDS = 64  # of browsers that are told apart in a network: whoever makes names up is so many readers, and no more
SHOWN = 200  # comments below a post, the newest of them
COMMENTS = Limit("comments", account=(Window(5, limits.FIVE_MINUTES), Window(50, limits.DAY)))


class Decided(ClofyError):
    """Somebody else has decided on this comment."""

    kind = Kind.CONFLICT


async def count_reading(session: AsyncSession, post_id: UUID, *, ip: str, user_agent: str, day: date) -> bool:
    """Count a reader of a public post, once a day; returns whether this call did. Nothing of it is kept but a hash."""
    if not await session.scalar(select(exists().where(PostPage.post_id == post_id))):
        return False
    kind = hashlib.sha256(user_agent.encode("utf-8", "surrogateescape")).digest()[0] % KINDS
    reader = sign("\0".join(("reader", str(day), limits.network(ip), str(kind))).encode("utf-8", "surrogateescape"))
    new = insert(PostReader).values(day=day, post_id=post_id, reader=reader).on_conflict_do_nothing()
    if await session.scalar(new.returning(PostReader.day)) is None:
        return False
    one = insert(PostReading).values(post_id=post_id, day=day, readers=1)
    more = one.on_conflict_do_update(index_elements=["post_id", "day"], set_={"readers": PostReading.readers + 1})
    await session.execute(more)
    return True


async def readings(session: AsyncSession, post_ids: Sequence[UUID]) -> dict[UUID, int]:
    query = select(PostReading.post_id, func.sum(PostReading.readers)).where(PostReading.post_id.in_(post_ids))
    return {post_id: int(count) for post_id, count in await session.execute(query.group_by(PostReading.post_id))}


async def like(session: AsyncSession, slug: str, *, account_id: UUID) -> None:
    """Once, however often it is pressed. Raises NotFound."""
    page = await pages.find(session, slug)
    new = insert(PostLike).values(post_id=page.post_id, account_id=account_id).on_conflict_do_nothing()
    if await session.scalar(new.returning(PostLike.post_id)) is not None:
        await pages.touch(session)


async def unlike(session: AsyncSession, slug: str, *, account_id: UUID) -> None:
    page = await pages.find(session, slug)
    gone = delete(PostLike).where(PostLike.post_id == page.post_id, PostLike.account_id == account_id)
    if await session.scalar(gone.returning(PostLike.post_id)) is not None:
        await pages.touch(session)


async def likes(session: AsyncSession, post_id: UUID) -> int:
    return (await session.scalar(select(func.count()).select_from(PostLike).where(PostLike.post_id == post_id))) or 0


async def likes_it(session: AsyncSession, post_id: UUID, *, account_id: UUID) -> bool:
    return await session.get(PostLike, (post_id, account_id)) is not None


async def comment(session: AsyncSession, slug: str, *, account_id: UUID, source: str) -> PostComment:
    """Write below a post; an admin reads it before others do. Raises NotFound. Ask `limits.admit` before."""
    page = await pages.find(session, slug)
    made = PostComment(post_id=page.post_id, account_id=account_id, source=source, state=CommentState.WAITING)
    session.add(made)
    await session.flush()
    await session.refresh(made)
    return made


async def take_back(session: AsyncSession, comment_id: UUID, *, account_id: UUID) -> None:
    """Delete one's own comment. Raises NotFound."""
    mine = delete(PostComment).where(PostComment.id == comment_id, PostComment.account_id == account_id)
    state = await session.scalar(mine.returning(PostComment.state))
    if state is None:
        raise NotFound(comment=comment_id)
    if state == CommentState.SHOWN:
        await pages.touch(session)


async def shown(session: AsyncSession, post_id: UUID) -> Sequence[PostComment]:
    """Oldest first."""
    query = select(PostComment).where(PostComment.post_id == post_id, PostComment.state == CommentState.SHOWN)
    return list(reversed((await session.scalars(query.order_by(PostComment.id.desc()).limit(SHOWN))).all()))


async def own(session: AsyncSession, post_id: UUID, *, account_id: UUID) -> Sequence[PostComment]:
    query = select(PostComment).where(PostComment.post_id == post_id, PostComment.account_id == account_id)
    return (await session.scalars(query.order_by(PostComment.id).limit(SHOWN))).all()


async def waiting(session: AsyncSession, *, limit: int = 50) -> Sequence[tuple[PostComment, str, str]]:
    """The moderation queue, oldest first: each with slug and title of its post."""
    query = (
        select(PostComment, PostPage.slug, PostPage.title)
        .join(PostPage, PostPage.post_id == PostComment.post_id)
        .where(PostComment.state == CommentState.WAITING)
        .order_by(PostComment.id)
        .limit(limit)
    )
    return [(made, slug, title) for made, slug, title in await session.execute(query)]


async def decide(
    session: AsyncSession, comment_id: UUID, *, state: CommentState, decided_by: UUID, now: datetime
) -> None:
    """Show or refuse a comment; a shown one may be refused later. Twice is once. Raises NotFound, Decided."""
    found = await session.get(PostComment, comment_id, with_for_update=True)
    if found is None:
        raise NotFound(comment=comment_id)
    if found.state == state:
        return
    if found.state == CommentState.REFUSED:
        raise Decided(comment=comment_id)
    found.state, found.decided_at, found.decided_by = state, now, decided_by
    await session.flush()
    await pages.touch(session)


async def export(session: AsyncSession, *, account_id: UUID) -> dict[str, Any]:
    """An account's comments and likes, for who has it."""
    comments = await session.scalars(
        select(PostComment).where(PostComment.account_id == account_id).order_by(PostComment.id)
    )
    liked = await session.execute(
        select(PostLike.post_id, PostLike.made_at).where(PostLike.account_id == account_id).order_by(PostLike.made_at)
    )
    return {
        "comments": [
            {"id": one.id, "post": one.post_id, "text": one.source, "state": one.state, "made_at": one.made_at}
            for one in comments
        ],
        "likes": [{"post": post_id, "made_at": made_at} for post_id, made_at in liked],
    }


async def forget(session: AsyncSession, *, account_id: UUID) -> int:
    """Delete an account's comments and likes; how many."""
    comments = delete(PostComment).where(PostComment.account_id == account_id).returning(PostComment.id)
    liked = delete(PostLike).where(PostLike.account_id == account_id).returning(PostLike.post_id)
    gone = len((await session.execute(comments)).all()) + len((await session.execute(liked)).all())
    if gone:
        await pages.touch(session)
    return gone
