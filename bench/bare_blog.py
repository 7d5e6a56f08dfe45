"""A post's page by a bare Quart route: the same template with the same facts, and nothing else. `uvicorn` serves it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Quart, render_template

from bench.blog import BODY, SLUG
from core.blog.models import PostPage
from core.blog.rendering import render
from web.pages.assets import static_url
from web.pages.filters import FILTERS

NOW = datetime(2026, 11, 24, tzinfo=UTC)

app = Quart("bare", static_folder=None, template_folder="../web/pages/templates", root_path="bench")
app.jinja_env.globals["static_url"] = static_url
app.jinja_env.filters.update(FILTERS)

rendered = render(BODY)
page = PostPage(
    post_id=UUID(int=1),
    slug=SLUG,
    title="Measured",
    summary="What a page costs.",
    tags=["figures"],
    author="Ada Brown",
    author_slug="ada-brown",
    cover="",
    description="",
    listed=True,
    published_at=NOW,
    updated_at=NOW,
)
facts: dict[str, Any] = {
    "post": page,
    "html": rendered.html,
    "likes": 0,
    "comments": [],
    "address": f"http://127.0.0.1/blog/{SLUG}",
    "described": {"@context": "https://schema.org", "@type": "BlogPosting", "headline": "Measured"},
    "origin": "http://127.0.0.1",
    "blog_title": "Clofy Cloud blog",
}


@app.get("/blog/<slug>")
async def post(slug: str) -> str:  # noqa: ARG001  # the address's
    return await render_template("blog_post.html", **facts)
