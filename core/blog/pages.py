"""What the public sees of the blog: pages, their addresses for ever, lists and search."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from core.blog import front_matter, gate
from core.blog.front_matter import Source
from core.blog.models import BlogStamp, Post, PostPage, PostSlug, PostState
from core.blog.rendering import RENDERER, Rendered, render, sanitise
from core.direct import Hot, direct
from core.errors import ClofyError, Kind, NotFound
from core.media import library

PAGE = 20
LONGEST_SEARCH = 200  # characters
LANGUAGE = "english"
# ts_headline knows no HTML: its excerpt is words, and a template escapes it.
EXCERPT = "MaxFragments=2, MaxWords=24, MinWords=8, StartSel='', StopSel='', FragmentDelimiter=' … '"


class SlugTaken(ClofyError):
    """That address is, or was, the one of another post."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Found:
    page: PostPage
    excerpt: str  # words, not HTML


@dataclass(frozen=True)
class Public:
    """Where a post is to be read, and as what it was published."""

    slug: str
    state: PostState


async def public_of(session: AsyncSession, post_id: UUID) -> Public | None:
    """What is public of a post, whatever state it is in for its editors."""
    query = select(PostPage.slug, PostPage.listed).where(PostPage.post_id == post_id)
    found = (await session.execute(query)).one_or_none()
    return found and Public(found.slug, PostState.PUBLISHED if found.listed else PostState.UNLISTED)


async def take_slug(session: AsyncSession, post_id: UUID, slug: str) -> None:
    """Make an address the post's own, for ever. Raises SlugTaken."""
    await session.execute(insert(PostSlug).values(slug=slug, post_id=post_id).on_conflict_do_nothing())
    if await owner_of(session, slug) != post_id:
        raise SlugTaken(slug=slug)


async def owner_of(session: AsyncSession, slug: str) -> UUID | None:
    return await session.scalar(select(PostSlug.post_id).where(PostSlug.slug == slug))


async def unknown(session: AsyncSession, slugs: Collection[str]) -> set[str]:
    """Those that lead to no public post."""
    known = select(PostSlug.slug).join(PostPage, PostPage.post_id == PostSlug.post_id).where(PostSlug.slug.in_(slugs))
    return set(slugs) - set(await session.scalars(known))


async def put(
    session: AsyncSession,
    post: Post,
    source: Source,
    rendered: Rendered,
    *,
    listed: bool,
    now: datetime,
    published_at: datetime,
) -> None:
    """Make this the public page of the post, which keeps the pictures it shows. The same one again changes nothing."""
    has = source.fields
    facts = {
        "revision": post.version,
        "slug": source.slug,
        "title": source.title,
        "summary": has["summary"],
        "tags": source.tags,
        "author": has["author"],
        "author_slug": front_matter.slug_of(has["author"]) or "author",
        "cover": has.get("cover", ""),
        "cover_alt": has.get("cover_alt", ""),
        "description": has.get("description", ""),
        "canonical": has.get("canonical", ""),
        "body": source.body,
        "html": rendered.html,
        "text": rendered.text,
        "renderer": RENDERER,
        "listed": listed,
    }
    old = await session.get(PostPage, post.id)
    if old is not None and all(getattr(old, name) == value for name, value in facts.items()):
        return
    facts["words"] = func.to_tsvector(LANGUAGE, f"{source.title}\n{has['summary']}\n{rendered.text}")
    facts["updated_at"] = now
    new = insert(PostPage).values(post_id=post.id, published_at=published_at, **facts)
    await session.execute(new.on_conflict_do_update(index_elements=["post_id"], set_=facts))
    pictures = await library.of_files(session, gate.files(source, rendered))
    await library.use(session, used_by=f"post:{post.id}", ids=[one.media.id for one in pictures.values()])
    await touch(session)


async def withdraw(session: AsyncSession, post_id: UUID) -> None:
    """Take the page of a post away, if there is one. Its addresses stay its own."""
    gone = await session.execute(delete(PostPage).where(PostPage.post_id == post_id).returning(PostPage.post_id))
    if gone.first() is not None:
        await library.use(session, used_by=f"post:{post_id}", ids=[])
        await touch(session)


async def touch(session: AsyncSession) -> None:
    """Say that public pages have changed: with the commit, all that was kept of them is old."""
    await session.execute(update(BlogStamp).values(stamp=BlogStamp.stamp + 1))


_STAMP = Hot("select stamp from blog_stamps")


async def stamp() -> int:
    async with direct() as unit:
        return int(await _STAMP.value(unit))


async def find(session: AsyncSession, slug: str) -> PostPage:
    """The public page of the post that has this address, or had it before: `page.slug` is the one of now.

    Raises NotFound.
    """
    page = await session.scalar(
        select(PostPage).join(PostSlug, PostSlug.post_id == PostPage.post_id).where(PostSlug.slug == slug)
    )
    if page is None:
        raise NotFound(slug=slug)
    return page


def _listed() -> Select[PostPage]:
    return select(PostPage).where(PostPage.listed)


async def newest(
    session: AsyncSession, *, tag: str = "", author: str = "", number: int = 1, limit: int = PAGE
) -> Sequence[PostPage]:
    """A page of the list, the newest first; `number` counts from 1. One more than `limit` says that there are more."""
    query = _listed()
    if tag:
        query = query.where(PostPage.tags.contains([tag]))
    if author:
        query = query.where(PostPage.author_slug == author)
    query = query.order_by(PostPage.published_at.desc(), PostPage.post_id.desc())
    return (await session.scalars(query.offset((number - 1) * limit).limit(limit + 1))).all()


async def all_listed(session: AsyncSession) -> Sequence[PostPage]:
    """For the sitemap, which takes 50,000 addresses (sitemaps.org): with what it says of them alone."""
    told = load_only(PostPage.slug, PostPage.canonical, PostPage.updated_at, raiseload=True)
    return (await session.scalars(_listed().options(told).order_by(PostPage.published_at.desc()).limit(50_000))).all()


async def search(session: AsyncSession, words: str) -> list[Found]:
    """The posts that fit best, each with the places where it does."""
    asked = func.websearch_to_tsquery(LANGUAGE, words[:LONGEST_SEARCH])
    # Letters that begin a tag are taken out first: ts_headline would leave a tag out, or cut it in the middle.
    excerpt = func.ts_headline(LANGUAGE, func.translate(PostPage.text, "<>", "  "), asked, EXCERPT)
    query = (
        select(PostPage, excerpt)
        .where(PostPage.listed, PostPage.words.op("@@")(asked))
        .order_by(func.ts_rank(PostPage.words, asked).desc(), PostPage.published_at.desc())
        .limit(PAGE)
    )
    return [Found(page, words_found) for page, words_found in await session.execute(query)]


def shown_html(page: PostPage) -> str:
    """The text as a page may show it: sanitised again, or rendered anew where the renderer has changed since."""
    return sanitise(page.html) if page.renderer == RENDERER else render(page.body).html


async def render_anew(session: AsyncSession, *, most: int = 100) -> int:
    """Render what an older renderer made; how many were done (requirements/security.md 75)."""
    old = await session.scalars(select(PostPage).where(PostPage.renderer != RENDERER).limit(most).with_for_update())
    done = 0
    for page in old:
        rendered = render(page.body)
        page.html, page.text, page.renderer = rendered.html, rendered.text, RENDERER
        done += 1
    if done:
        await session.flush()
        await touch(session)
    return done
