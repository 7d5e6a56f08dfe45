"""Posts for the tests of the blog."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from core.accounts.models import Role
from core.blog import posts
from core.blog.models import Post, PostState
from core.database import transaction
from core.media.models import Media, MediaFile, MediaState
from tests.makers import make_account


def source(*, slug: str = "", title: str = "A good question", body: str = "Words.", **more: str) -> str:
    fields = {
        "title": title,
        "slug": slug or f"post-{uuid4().hex}",
        "summary": "What makes a question good.",
        "author": "Ada Brown",
    } | more
    head = "\n".join(f"{name}: {value}" for name, value in fields.items())
    return f"---\n{head}\n---\n\n{body}\n"


async def make_editor() -> UUID:
    async with transaction() as session:
        return await make_account(session, role=Role.ADMIN)


async def make_picture() -> tuple[UUID, str]:
    """A picture that is ready, as rows: its id, and the path of its file, which nobody has stored."""
    name = f"{uuid4().hex * 2}.webp"
    async with transaction() as session:
        media = Media(name="cat.jpg", size=1, state=MediaState.READY, width=1, height=1, colour="#000000")
        session.add(media)
        await session.flush()
        session.add(MediaFile(media_id=media.id, name=name, width=1, height=1, size=1))
    return media.id, f"/media/{name}"


async def make_post(text: str, editor: UUID, *, to: PostState = PostState.PUBLISHED) -> Post:
    """A committed post, brought to a state."""
    async with transaction() as session:
        post = await posts.create(session, source=text, made_by=editor)
        if to != PostState.DRAFT:
            await posts.move(session, post.id, to=to, version=1, now=datetime.now(UTC))
    return post
