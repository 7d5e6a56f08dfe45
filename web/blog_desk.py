"""The blog for its editors, who are admins: posts, revisions, states, previews; and the comments that wait."""

import re
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.blog import front_matter, posts, readers
from core.blog.front_matter import Source
from core.blog.models import CommentState, Post, PostRevision, PostState
from core.blog.posts import Draft
from core.database import transaction
from core.errors import InvalidInput
from web.admin import Moment
from web.blog import shown_comment
from web.blog_shapes import DeskPost, DeskRows, Preview, RevisionFacts, RevisionRows, WaitingComments
from web.inputs import Input, last_id, takes, to_json
from web.kept import look_again
from web.openapi import AFTER_ID, answers, matched, query
from web.replay import once
from web.session import admin_only

blueprint = Blueprint("blog_desk", __name__, url_prefix="/api/admin")
blueprint.after_request(look_again)


class NewSource(Input):
    source: str = Field(max_length=posts.LONGEST)


class NewState(Input):
    to: Literal["draft", "review", "scheduled", "published", "unlisted", "archived"]
    at: Moment | None = None


class Restored(Input):
    revision: str = Field(json_schema_extra={"format": "uuid"})


class Decision(Input):
    state: Literal["shown", "refused"]


def version_asked() -> int:
    """From If-Match, which must be there: who changes a post says what it was. Raises InvalidInput."""
    match = re.fullmatch(r'"([1-9][0-9]{0,8})"', request.headers.get("If-Match", ""))
    if match is None:
        raise InvalidInput(field="If-Match", rule="must be the ETag of the post as you have read it")
    return int(match[1])


def desk_row(post: Post, source: Source) -> dict[str, Any]:
    names = ("id", "state", "version", "scheduled_at", "published_at", "updated_at")
    return {**{name: getattr(post, name) for name in names}, "title": source.title, "slug": source.slug}


def shown(draft: Draft) -> dict[str, Any]:
    return {**desk_row(draft.post, draft.source), "source": draft.text, "findings": list(draft.findings)}


async def desk_post(session: AsyncSession, post: Post) -> dict[str, Any]:
    return shown(await posts.look(session, post))


def _with_version(facts: dict[str, Any], status: int = 200) -> Response:
    response = Response(to_json(facts), status, content_type="application/json")
    response.headers["ETag"] = f'"{facts["version"]}"'
    return response


@blueprint.get("/posts")
@admin_only
@query(after=AFTER_ID)
@answers(DeskRows)
async def index() -> ResponseReturnValue:
    """All posts, the newest first; page by `?after=` the last id."""
    return await rows(request.args.get("after", ""))


async def rows(after: str) -> dict[str, Any]:
    last = last_id(after)
    async with transaction() as session:
        listed = await posts.listed(session, after=last)
        found = [desk_row(post, front_matter.read(text)) for post, text in listed]
    return {"posts": found, "next": found[-1]["id"] if len(found) == posts.PAGE else None}


@blueprint.post("/posts")
@admin_only
@answers(DeskPost, status=201, keyed=True)
@takes(NewSource)
async def create(data: NewSource) -> ResponseReturnValue:
    """Begin a post. Its source is kept whatever is wrong with it; `findings` say what is."""

    async def begin(session: Any) -> dict[str, Any]:
        made = await posts.create(session, source=data.source, made_by=g.account.id)
        facts = await desk_post(session, made)
        return {**facts, "id": str(made.id), "updated_at": made.updated_at.isoformat()}

    return _with_version(await once(begin, transaction), 201)


@blueprint.post("/posts/<uuid:post_id>/preview")
@admin_only
@answers(Preview)
@takes(NewSource)
async def preview(post_id: UUID, data: NewSource) -> ResponseReturnValue:
    """What the post would look like with this source, and what is wrong with it; nothing is kept."""
    async with transaction() as session:
        draft = await posts.examine(session, data.source, post=await posts.get(session, post_id))
    return {"title": draft.source.title, "html": draft.rendered.html, "findings": list(draft.findings)}


@blueprint.get("/posts/<uuid:post_id>")
@admin_only
@answers(DeskPost)
async def show(post_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        return _with_version(await desk_post(session, await posts.get(session, post_id)))


@blueprint.put("/posts/<uuid:post_id>")
@admin_only
@matched
@answers(DeskPost)
@takes(NewSource)
async def save(post_id: UUID, data: NewSource) -> ResponseReturnValue:
    """A new revision. 409 if there is one that you have not seen: yours is kept aside, and the difference is told."""
    version = version_asked()
    facts: dict[str, Any] = {"source": data.source, "version": version, "made_by": g.account.id}
    try:
        async with transaction() as session:
            return _with_version(await desk_post(session, await posts.save(session, post_id, **facts)))
    except posts.EditedMeanwhile:
        async with transaction() as session:
            await posts.keep_aside(session, post_id, **facts)
        raise


@blueprint.post("/posts/<uuid:post_id>/state")
@admin_only
@matched
@answers(DeskPost)
@takes(NewState)
async def move(post_id: UUID, data: NewState) -> ResponseReturnValue:
    """Publish, schedule, archive... 409 with `findings` if it is not ready. Doing it again changes nothing."""
    version = version_asked()
    async with transaction() as session:
        moved = await posts.move(
            session, post_id, to=PostState(data.to), version=version, now=datetime.now(UTC), at=data.at
        )
        return _with_version(await desk_post(session, moved))


@blueprint.delete("/posts/<uuid:post_id>/schedule")
@admin_only
@answers(DeskPost)
async def call_off(post_id: UUID) -> ResponseReturnValue:
    """Do not publish at the time that was chosen; what is public stays as it is. Doing it again changes nothing."""
    async with transaction() as session:
        left = await posts.call_off(session, post_id, now=datetime.now(UTC))
        return _with_version(await desk_post(session, left))


@blueprint.get("/posts/<uuid:post_id>/revisions")
@admin_only
@answers(RevisionRows)
async def list_revisions(post_id: UUID) -> ResponseReturnValue:
    """The latest first; those without a number were kept aside."""
    return {"revisions": await revision_rows(post_id)}


async def revision_rows(post_id: UUID, *, limit: int = posts.REVISIONS) -> list[dict[str, Any]]:
    async with transaction() as session:
        await posts.get(session, post_id)
        found = await posts.revisions(session, post_id, limit=limit)
        names = await profile.names(session, {one.made_by for one in found if one.made_by})
        return [_revision(one, names) for one in found]


def _revision(one: PostRevision, names: dict[UUID, str]) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("id", "number", "based_on", "made_at")}
    return {**facts, "made_by": names.get(one.made_by) if one.made_by else None}


@blueprint.get("/posts/<uuid:post_id>/revisions/<uuid:revision_id>")
@admin_only
@answers(RevisionFacts)
async def show_revision(post_id: UUID, revision_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        found = await posts.revision(session, post_id, revision_id)
        names = await profile.names(session, {found.made_by} if found.made_by else set())
        return {**_revision(found, names), "source": found.source}


@blueprint.post("/posts/<uuid:post_id>/restore")
@admin_only
@matched
@answers(DeskPost)
@takes(Restored)
async def restore(post_id: UUID, data: Restored) -> ResponseReturnValue:
    """Make an older text the latest revision."""
    version = version_asked()
    try:
        revision_id = UUID(data.revision)
    except ValueError:
        raise InvalidInput(field="revision", rule="must be the id of a revision") from None
    async with transaction() as session:
        post = await posts.restore(session, post_id, revision_id=revision_id, version=version, made_by=g.account.id)
        return _with_version(await desk_post(session, post))


@blueprint.get("/comments")
@admin_only
@answers(WaitingComments)
async def list_comments() -> ResponseReturnValue:
    """Those that wait to be read, the oldest first; at most 50."""
    return {"comments": await waiting_comments()}


async def waiting_comments() -> list[dict[str, Any]]:
    async with transaction() as session:
        found = await readers.waiting(session)
        names = await profile.names(session, {made.account_id for made, _, _ in found})
    return [
        {**shown_comment(made), "slug": slug, "title": title, "name": names.get(made.account_id, "")}
        for made, slug, title in found
    ]


@blueprint.post("/comments/<uuid:comment_id>/decision")
@admin_only
@answers(None, status=204, problems=(409,))
@takes(Decision)
async def decide(comment_id: UUID, data: Decision) -> ResponseReturnValue:
    """Show a comment, or refuse it; one that is shown may be refused later."""
    async with transaction() as session:
        await readers.decide(
            session, comment_id, state=CommentState(data.state), decided_by=g.account.id, now=datetime.now(UTC)
        )
    return "", 204
