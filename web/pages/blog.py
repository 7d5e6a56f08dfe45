"""The blog's public pages: the same for all, without cookie, script and nonce, so that any cache may have them."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, redirect, render_template, request
from quart.globals import request_ctx
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.blog import front_matter, pages, readers
from core.blog.models import PostPage
from core.blog.rendering import Kind, render
from core.database import transaction
from core.errors import NotFound
from web import security
from web.blog import page_number
from web.callers import caller
from web.kept import FOR_CACHES
from web.pages import feeds
from web.session import open_to_all

blueprint = Blueprint("blog_pages", __name__, template_folder="templates")

DOT = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")  # a GIF of one clear pixel
TITLE = "Clofy Cloud blog"


@blueprint.before_request
async def check() -> None:
    """Nobody is asked who he is; where the request came through is asked all the same."""
    asked = request_ctx.request
    security.check_target(security.site(), asked.headers, asked.path, asked.query_string)
    security.check_single_keys(asked)


async def _page(template: str, *, kept: str = FOR_CACHES, **facts: Any) -> Response:
    html = await render_template(template, origin=security.site().origin, blog_title=TITLE, **facts)
    return Response(html, mimetype="text/html", headers={"Cache-Control": kept})


async def _list(title: str, path: str, *, tag: str = "", author: str = "") -> Response:
    number = page_number(request.args.get("page", ""))
    async with transaction() as session:
        found = await pages.newest(session, tag=tag, author=author, number=number)
    if not found and (number > 1 or tag or author):
        raise NotFound(path=path)
    heading = next((page.author for page in found), title) if author else title
    return await _page(
        "blog_index.html",
        posts=found[: pages.PAGE],
        heading=heading,
        here=path,
        number=number,
        more=len(found) > pages.PAGE,
    )


@blueprint.get("/blog")
@open_to_all
async def index() -> ResponseReturnValue:
    return await _list("Blog", "/blog")


@blueprint.get("/blog/tags/<tag>")
@open_to_all
async def of_tag(tag: str) -> ResponseReturnValue:
    if front_matter.slug_of(tag) != tag:
        raise NotFound(tag=tag)
    return await _list(f"Posts about {tag}", f"/blog/tags/{tag}", tag=tag)


@blueprint.get("/blog/authors/<author>")
@open_to_all
async def of_author(author: str) -> ResponseReturnValue:
    if front_matter.slug_of(author) != author:
        raise NotFound(author=author)
    return await _list("Author", f"/blog/authors/{author}", author=author)


@blueprint.get("/blog/search")
@open_to_all
async def search() -> ResponseReturnValue:
    """Not for caches: there are as many pages as there are words."""
    words = request.args.get("q", "").strip()[: pages.LONGEST_SEARCH]
    async with transaction() as session:
        found = await pages.search(session, words) if words else []
    return await _page("blog_search.html", kept="no-cache, public", words=words, found=found)


@blueprint.get("/blog/<slug>")
@open_to_all
async def post(slug: str) -> ResponseReturnValue:
    async with transaction() as session:
        page = await pages.find(session, slug)
        if page.slug != slug:
            moved = redirect(f"/blog/{page.slug}", 301)
            moved.headers["Cache-Control"] = FOR_CACHES
            return moved
        facts = await post_facts(session, page)
    return await _page("blog_post.html", **facts)


async def post_facts(session: AsyncSession, page: PostPage) -> dict[str, Any]:
    comments = await readers.shown(session, page.post_id)
    names = await profile.names(session, {one.account_id for one in comments})
    address = page.canonical or f"{security.site().origin}/blog/{page.slug}"
    return {
        "post": page,
        "html": pages.shown_html(page),
        "likes": await readers.likes(session, page.post_id),
        "comments": [
            {
                "name": names.get(one.account_id, "Somebody"),
                "made_at": one.made_at,
                "html": render(one.source, Kind.COMMENT).html,
            }
            for one in comments
        ],
        "address": address,
        "described": _described(page, address),
    }


def _described(page: PostPage, address: str) -> dict[str, Any]:
    """For search engines (schema.org, BlogPosting)."""
    facts: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "BlogPosting",
        "headline": page.title,
        "description": page.description or page.summary,
        "datePublished": page.published_at.astimezone(UTC).isoformat(timespec="seconds"),
        "dateModified": page.updated_at.astimezone(UTC).isoformat(timespec="seconds"),
        "author": {"@type": "Person", "name": page.author},
        "publisher": {"@type": "Organization", "name": "Clofy Cloud"},
        "mainEntityOfPage": address,
        "keywords": ", ".join(page.tags),
    }
    if page.cover:
        facts["image"] = security.site().origin + page.cover
    return facts


@blueprint.get("/blog/readings/<uuid:post_id>.gif")
@open_to_all
async def reading(post_id: UUID) -> ResponseReturnValue:
    """A picture below the text, which browsers fetch when a reader comes near it. Nothing is set, and no name kept."""
    here = caller()
    async with transaction() as session:
        await readers.count_reading(
            session, post_id, ip=here.ip, user_agent=here.user_agent, day=datetime.now(UTC).date()
        )
    return Response(DOT, mimetype="image/gif", headers={"Cache-Control": "no-store"})


@blueprint.get("/blog/feed.atom")
@open_to_all
async def atom() -> ResponseReturnValue:
    async with transaction() as session:
        found = await pages.newest(session)
    body = feeds.atom(found[: pages.PAGE], origin=security.site().origin, title=TITLE)
    return Response(body, content_type="application/atom+xml; charset=utf-8", headers={"Cache-Control": FOR_CACHES})


@blueprint.get("/blog/feed.json")
@open_to_all
async def json_feed() -> ResponseReturnValue:
    async with transaction() as session:
        found = await pages.newest(session)
    body = feeds.json_feed(found[: pages.PAGE], origin=security.site().origin, title=TITLE)
    return Response(body, content_type="application/feed+json", headers={"Cache-Control": FOR_CACHES})


@blueprint.get("/sitemap.xml")
@open_to_all
async def sitemap() -> ResponseReturnValue:
    async with transaction() as session:
        found = await pages.all_listed(session)
    body = feeds.sitemap(found, origin=security.site().origin)
    return Response(body, content_type="application/xml; charset=utf-8", headers={"Cache-Control": FOR_CACHES})
