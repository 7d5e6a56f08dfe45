"""The blog as it is written and read, in a real Chromium; and what must not run there, with its last guard off."""

import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from core.blog.rendering import RENDERER, render
from sandbox.azurite import Azurite
from sandbox.processes import Child
from tests.core.blog.kit import source
from tests.core.blog.vectors import VECTORS
from tests.core.media import files
from tests.house import MODULE, ROOT, Stack
from tests.journeys.chromium import Window, launch
from tests.journeys.person import Person, admin_of

WIDTH = "(one) => one.decode().then(() => one.naturalWidth)"
RUNS = "window.alert = () => { document.documentElement.dataset.ran = 'yes'; };"
# Each thing in what people wrote that could still run, should nobody have pressed or passed it.
SUSPICIOUS = """() => [...document.querySelectorAll(".prose *, .posts *")].filter((one) =>
    [...one.attributes].some((attribute) => /^on|^style$|^srcdoc$/.test(attribute.name))
    || /^(script|iframe|object|embed|svg|math|style|form|base|meta|link)$/i.test(one.localName)
    || (one.hasAttribute("href") && !/^(https?|mailto):$/.test(one.protocol))).map((one) => one.outerHTML)"""


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@asynccontextmanager
async def unguarded(stack: Stack, chromium: Browser, person: Person | None = None) -> AsyncIterator[Page]:
    """A tab that heeds no Content-Security-Policy: only the sanitiser stands between a text and its script."""
    context = await chromium.new_context(base_url=stack.web_url, bypass_csp=True)
    await context.add_init_script(RUNS)
    if person is not None:
        jar: list[Any] = [
            {"name": cookie.name, "value": cookie.value or "", "url": stack.web_url}
            for cookie in person.http.cookies.jar
        ]
        await context.add_cookies(jar)
    yield await context.new_page()
    await context.close()


async def ran(page: Page) -> bool:
    """Whether a script ran, now that the page and all that it fetches is there and has had a turn."""
    await page.wait_for_load_state("load")
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return bool(await page.evaluate("document.documentElement.dataset.ran === 'yes'"))


async def is_inert(page: Page) -> None:
    assert await page.evaluate(SUSPICIOUS) == []
    assert not await ran(page)


def publish_without_the_gate(stack: Stack, body: str) -> str:
    """As a page, whatever is wrong with it; its slug."""
    slug, made = f"vector-{uuid4().hex}", render(body)
    stack.sql(
        """
        with post as (insert into posts (state, published_at) values ('published', now()) returning id),
             address as (insert into post_slugs (slug, post_id) select cast(:slug as text), id from post),
             touched as (update blog_stamps set stamp = stamp + 1)
        insert into post_pages (post_id, revision, slug, title, summary, tags, author, author_slug, cover, cover_alt,
            description, canonical, body, html, text, renderer, words, listed, published_at, updated_at)
        select id, 1, cast(:slug as text), :title, :title, '{}', :title, 'x', '', '', '', '', :body, :html,
            cast(:text as text), :renderer, to_tsvector('english', cast(:text as text)), true, now(), now() from post
        """,
        slug=slug,
        title=body[:80],
        body=body,
        html=made.html,
        text=made.text,
        renderer=RENDERER,
    )
    return slug


async def test_ninety_ways_to_run_a_script_run_none_in_post_search_feed_comment_or_preview(
    stack: Stack, chromium: Browser
) -> None:
    assert len(VECTORS) >= 60
    groups = ["\n\n".join(VECTORS[first : first + 4]) for first in range(0, len(VECTORS), 4)]
    slugs = [publish_without_the_gate(stack, body) for body in groups]
    async with admin_of(stack) as admin, unguarded(stack, chromium, admin) as page:
        await page.goto("about:blank")
        await page.evaluate(RUNS)
        await page.set_content("<p><img src=x onerror=alert(1)></p>")
        assert await ran(page), "it would be seen"

        for slug in slugs:
            await page.goto(f"/blog/{slug}")
            await is_inert(page)
        for path in ("/blog", "/blog/search?q=alert", "/blog/search?q=script"):
            await page.goto(path)
            assert await page.locator(".posts li").count() > 0
            await is_inert(page)

        for vector in VECTORS:
            stack.sql(
                """
                insert into post_comments (post_id, account_id, source, state, decided_at)
                select post_id, accounts.id, :text, 'shown', now() from post_slugs, accounts
                where slug = :slug and email = :email
                """,
                text=vector,
                slug=slugs[0],
                email=admin.email,
            )
        stack.sql("update blog_stamps set stamp = stamp + 1")
        await expect_comments(page, slugs[0], len(VECTORS))
        await is_inert(page)
        await page.goto(f"/blog/{slugs[0]}/talk")
        await is_inert(page)

        # A feed reader that trusts us, and shows what we send as it is.
        feed = (await admin.call("GET", "/blog/feed.json")).json()
        atom = ElementTree.fromstring((await admin.call("GET", "/blog/feed.atom")).text)  # noqa: S314  # our own
        contents = [item["content_html"] for item in feed["items"]]
        contents += [one.text or "" for one in atom.iter("{http://www.w3.org/2005/Atom}content")]
        assert len(contents) == 40
        for content in contents:
            await page.set_content(f"<div class=prose>{content}</div>")
            await is_inert(page)

        made = await admin.call("POST", "/api/admin/posts", json={"source": "x"})
        await page.goto(f"/admin/blog/{made.json()['id']}")
        for body in groups:
            async with page.expect_response("**/preview"):
                await page.fill("#source", f"---\n---\n{body}")
            await is_inert(page)
    stack.sql("delete from posts where id in (select post_id from post_slugs where slug like 'vector-%')")


async def expect_comments(page: Page, slug: str, count: int) -> None:
    """The web process has noticed within a second; a browser asks again when its page is loaded anew."""
    await page.goto(f"/blog/{slug}")
    for _ in range(50):
        if await page.locator(".comment").count() == count:
            return
        await page.reload()
    raise AssertionError("the comments are not shown")


async def test_from_the_first_word_to_a_readers_answer(stack: Stack, chromium: Browser, person: Person) -> None:
    slug = f"asked-{uuid4().hex}"
    async with (
        admin_of(stack) as admin,
        Window.at(stack, chromium, person=admin) as desk,
        Window.at(stack, chromium, person=person) as seat,
    ):
        await desk.goto("/admin/blog")
        await desk.tab_to("form[data-api='/api/admin/posts'] button")
        await desk.enter("/admin/blog/*-*")
        await desk.tab_to("#source")
        await desk.page.keyboard.press("Control+a")
        await desk.page.keyboard.type(source(slug=slug, title="What to ask", tags="asking", body="## How\n\nAsk *"))
        await desk.page.keyboard.press("Control+b")
        await desk.page.keyboard.type("now")
        await expect(desk.see("[data-preview] h2")).to_have_text("How")
        await expect(desk.see("[data-findings] li")).to_have_count(0)
        await desk.page.keyboard.press("Control+s")
        await expect(desk.see("[data-saved]")).to_have_text("Saved")
        faults = await desk.accessibility_faults()
        await desk.tab_to("[data-to=published]")
        await desk.page.keyboard.press("Enter")
        await expect(desk.see("[data-state=published]")).to_have_text("Published")

        await seat.goto("/blog")
        await seat.page.get_by_role("link", name="What to ask").click()
        await expect(seat.see("h1")).to_have_text("What to ask")
        faults += await seat.accessibility_faults()
        await seat.page.get_by_role("link", name="Like or comment").click()
        faults += await seat.accessibility_faults()
        await seat.page.get_by_role("button", name="Like this post").click()
        await expect(seat.page.get_by_role("button", name=re.compile("You like this"))).to_be_visible()
        await seat.page.fill("#text", "So *true*.")
        await seat.page.get_by_role("button", name="Send").click()
        await expect(seat.see(".comment")).to_contain_text("Waits to be read")

        await desk.goto("/admin/blog/comments")
        faults += await desk.accessibility_faults()
        await desk.see(".comment").filter(has_text="So true.").get_by_role("button", name="Show").click()
        await expect(desk.see(".comment").filter(has_text="So true.")).to_have_count(0)
        await expect_comments(seat.page, slug, 1)
        await expect(seat.see("#comments")).to_have_text("1 comment, 1 like")
        for path in ("/blog", "/blog/search?q=ask", "/blog/tags/asking"):
            await seat.goto(path)
            faults += await seat.accessibility_faults()
        await desk.goto("/admin/blog")
        faults += await desk.accessibility_faults()

    assert faults == []


async def test_two_editors_at_once_see_what_both_did_and_lose_nothing(stack: Stack, chromium: Browser) -> None:
    slug = f"two-{uuid4().hex}"
    async with admin_of(stack) as one, admin_of(stack) as two:
        base = source(slug=slug, body="First.\n\nSecond.\n\nThird.")
        made = await one.call("POST", "/api/admin/posts", json={"source": base})
        path = f"/admin/blog/{made.json()['id']}"
        async with (
            Window.at(stack, chromium, person=one) as left,
            Window.at(stack, chromium, person=two) as right,
        ):
            right.forgiven = ["409"]
            await left.goto(path)
            await right.goto(path)
            await left.page.fill("#source", base.replace("First.", "First, left."))
            await expect(left.see("[data-saved]")).to_have_text("Saved")
            await right.page.fill("#source", base.replace("Third.", "Third, right."))
            await expect(right.see("#conflict")).to_be_visible()
            await expect(right.see("[data-difference] .theirs")).to_have_text("First, left.")
            await expect(right.see("[data-difference] .mine")).to_have_text("Third, right.")
            faults = await right.accessibility_faults()
            await right.see("[data-take=merged]").click()
            await expect(right.see("[data-saved]")).to_have_text("Saved")

        last = (await one.call("GET", f"/api{path.replace('blog', 'posts')}")).json()
        assert last["source"] == base.replace("First.", "First, left.").replace("Third.", "Third, right.")
        kept = (await one.call("GET", f"/api{path.replace('blog', 'posts')}/revisions")).json()["revisions"]
        assert sorted(row["number"] or 0 for row in kept) == [0, 1, 2, 3]
    assert faults == []


@pytest.fixture
def pictured(stack: Stack, storage: Azurite) -> Iterator[Stack]:
    """With a place for pictures, and the worker that makes them."""
    flags = "-A workers.app worker -P prefork -c 1 -Q media -n media@%h --without-gossip --without-mingle"
    log = stack.directory / "log" / "media.log"
    alive = stack.directory / "media.alive"
    environ = stack.environ | {"CLOFY_ALIVE_FILE": str(alive)}
    worker = Child("media", [*MODULE, "celery", *flags.split()], log=log, environ=environ, directory=ROOT)
    worker.start()
    yield stack
    worker.stop(seconds=10)


async def test_a_picture_is_dropped_on_the_text_and_chosen_again(pictured: Stack, chromium: Browser) -> None:
    slug = f"seen-{uuid4().hex}"
    content = base64.b64encode(files.saved(files.drawn(size=(400, 300)), "PNG")).decode()
    async with admin_of(pictured) as admin:
        made = await admin.call("POST", "/api/admin/posts", json={"source": source(slug=slug)})
        async with Window.at(pictured, chromium, person=admin) as desk:
            await desk.goto(f"/admin/blog/{made.json()['id']}")
            dropped = await desk.page.evaluate_handle(
                """(content) => {
                    const dropped = new DataTransfer();
                    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
                    dropped.items.add(new File([bytes], "cat.png", { type: "image/png" }));
                    return dropped;
                }""",
                content,
            )
            await desk.page.dispatch_event("#source", "drop", {"dataTransfer": dropped})
            shown = desk.see("[data-preview] img")
            await expect(shown).to_have_attribute("src", re.compile("^/media/"), timeout=60_000)
            await desk.page.keyboard.type("A cat")
            await expect(shown).to_have_attribute("alt", "A cat")
            assert (
                await desk.see("[data-preview] img").evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 0
            )
            await desk.page.keyboard.press("Control+s")
            await expect(desk.see("[data-saved]")).to_have_text("Saved")

            await desk.see("[data-choose-picture]").click()
            await expect(desk.see("[data-pictures] img")).to_have_attribute("alt", "cat.png")
            faults = await desk.accessibility_faults()
            await desk.see("[data-pictures] button").click()
            await expect(shown).to_have_count(2)
            await desk.page.keyboard.type("The same cat")
            await expect(desk.see("[data-findings] li")).to_have_count(0)
            await desk.see("[data-to=published]").click()
            await expect(desk.see("[data-state=published]")).to_have_text("Published")

            await desk.goto(f"/blog/{slug}")
            assert await desk.see(".prose img").first.evaluate(WIDTH) > 0

    assert faults == []
