"""The blog for programs and readers: what is published, likes, comments."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import StringConstraints
from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core import limits
from core.blog import pages, readers
from core.blog.models import PostComment, PostPage
from core.database import transaction
from core.errors import InvalidInput
from web.blog_shapes import CommentFacts, PostFacts, PostRows
from web.inputs import Input, takes
from web.kept import look_again
from web.openapi import answers, query
from web.replay import once
from web.session import anyone, signed_in

blueprint = Blueprint("blog", __name__, url_prefix="/api")
blueprint.after_request(look_again)

MOST_PAGES = 9_999
PAGE_NUMBER = {"type": "string", "pattern": "^([1-9][0-9]{0,3})?$"}


class NewComment(Input):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=readers.LONGEST)]


def row(page: PostPage) -> dict[str, Any]:
    names = ("slug", "title", "summary", "tags", "author", "cover", "cover_alt", "published_at", "updated_at")
    return {name: getattr(page, name) for name in names}


def page_number(text: str) -> int:
    """From `?page=`; 1 where there is none. Raises InvalidInput."""
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= MOST_PAGES and text[0] != "0"):
        raise InvalidInput(field="page", rule=f"must be 1 to {MOST_PAGES}")
    return int(text)


@blueprint.get("/posts")
@anyone
@query(page=PAGE_NUMBER)
@answers(PostRows)
async def index() -> ResponseReturnValue:
    """Published posts, the newest first; page by `?page=` the `next` of the page before."""
    number = page_number(request.args.get("page", ""))
    async with transaction() as session:
        found = await pages.newest(session, number=number)
    more = len(found) > pages.PAGE and number < MOST_PAGES
    return {"posts": [row(page) for page in found[: pages.PAGE]], "next": number + 1 if more else None}


@blueprint.get("/posts/<slug>")
@anyone
@answers(PostFacts)
async def show(slug: str) -> ResponseReturnValue:
    """A post, by its address or one that it had before."""
    async with transaction() as session:
        page = await pages.find(session, slug)
        return {**row(page), "html": pages.shown_html(page), "likes": await readers.likes(session, page.post_id)}


@blueprint.put("/posts/<slug>/like")
@signed_in
@answers(None, status=204)
async def like(slug: str) -> ResponseReturnValue:
    """Once, however often."""
    async with transaction() as session:
        await readers.like(session, slug, account_id=g.account.id)
    return "", 204


@blueprint.delete("/posts/<slug>/like")
@signed_in
@answers(None, status=204)
async def unlike(slug: str) -> ResponseReturnValue:
    async with transaction() as session:
        await readers.unlike(session, slug, account_id=g.account.id)
    return "", 204


@blueprint.post("/posts/<slug>/comments")
@signed_in
@answers(CommentFacts, status=201, problems=(429,), keyed=True)
@takes(NewComment)
async def comment(slug: str, data: NewComment) -> ResponseReturnValue:
    """Write below a post; it is shown once somebody of ours has read it."""
    await limits.admit(readers.COMMENTS, account=str(g.account.id), ip="")

    async def create(session: Any) -> dict[str, Any]:
        made = await readers.comment(session, slug, account_id=g.account.id, source=data.text)
        return {**shown_comment(made), "id": str(made.id), "made_at": made.made_at.isoformat()}

    return await once(create, transaction), 201


def shown_comment(made: PostComment) -> dict[str, Any]:
    return {"id": made.id, "state": made.state, "text": made.source, "made_at": made.made_at}


@blueprint.delete("/comments/<uuid:comment_id>")
@signed_in
@answers(None, status=204)
async def take_back(comment_id: UUID) -> ResponseReturnValue:
    """Delete one's own comment."""
    async with transaction() as session:
        await readers.take_back(session, comment_id, account_id=g.account.id)
    return "", 204
