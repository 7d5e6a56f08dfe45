"""The blog's pages for people who are signed in: where posts are written, comments are read, and readers answer."""

from uuid import UUID

from quart import Blueprint, g, redirect, request
from quart.typing import ResponseReturnValue

from core.blog import pages, posts, readers
from core.blog.rendering import Kind, render
from core.database import transaction
from web import blog_desk
from web.known import remember
from web.pages import page
from web.session import admin_only, signed_in

blueprint = Blueprint("blog_desk_pages", __name__, template_folder="templates")
blueprint.after_request(remember)

REVISIONS = 30  # the latest, that the editor shows

STATE_WORDS = {
    "draft": "Draft",
    "review": "In review",
    "scheduled": "Scheduled",
    "published": "Published",
    "unlisted": "Unlisted",
    "archived": "Archived",
}


@blueprint.get("/admin/blog")
@admin_only
async def index() -> ResponseReturnValue:
    facts = await blog_desk.rows(request.args.get("after", ""))
    waits = await blog_desk.waiting_comments()
    async with transaction() as session:
        counts = await readers.readings(session, [one["id"] for one in facts["posts"]])
    begin = "\n".join(("---", "title: ", "slug: ", "summary: ", "tags: ", f"author: {g.account.name}", "---", "", ""))
    return await page(
        "blog_desk.html",
        {**facts, "words": STATE_WORDS, "waiting": len(waits), "readings": counts, "begin": begin},
    )


@blueprint.get("/admin/blog/comments")
@admin_only
async def comments() -> ResponseReturnValue:
    waits = await blog_desk.waiting_comments()
    shown = [{**one, "html": render(one["text"], Kind.COMMENT).html} for one in waits]
    return await page("blog_comments.html", {"comments": shown})


@blueprint.get("/admin/blog/<uuid:post_id>")
@admin_only
async def editor(post_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        draft = await posts.look(session, await posts.get(session, post_id))
        public = await pages.public_of(session, post_id)
    revisions = await blog_desk.revision_rows(post_id, limit=REVISIONS)
    return await page(
        "blog_editor.html",
        {
            "post": blog_desk.shown(draft),
            "public": public,
            "html": draft.rendered.html,
            "words": STATE_WORDS,
            "revisions": revisions,
        },
    )


@blueprint.get("/blog/<slug>/talk")
@signed_in
async def talk(slug: str) -> ResponseReturnValue:
    async with transaction() as session:
        found = await pages.find(session, slug)
        if found.slug != slug:
            return redirect(f"/blog/{found.slug}/talk")
        mine = await readers.own(session, found.post_id, account_id=g.account.id)
        liked = await readers.likes_it(session, found.post_id, account_id=g.account.id)
    shown = [
        {"id": one.id, "state": one.state, "made_at": one.made_at, "html": render(one.source, Kind.COMMENT).html}
        for one in mine
    ]
    return await page("blog_talk.html", {"post": found, "comments": shown, "liked": liked})
