"""Consent as browsers see it: what is set and fetched before, after a yes, after a no; by keyboard; without scripts."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, async_playwright, expect

from core.privacy.cookies import COOKIES
from tests.house import Stack
from tests.journeys.chromium import Window, launch
from tests.journeys.person import PASSWORD, Person

PAGES = ("/", "/services/general-advisor", "/blog", "/privacy", "/terms", "/cookies", "/privacy/versions", "/register")
PANEL = "aside[aria-label=Analytics]"
LIVES = {one.name: one.lives for one in COOKIES}


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def window(stack: Stack, chromium: Browser) -> AsyncIterator[Window]:
    """Of a visitor."""
    async with Window.at(stack, chromium) as opened:
        yield opened


def counted(stack: Stack) -> int:
    """Pages that are in the sums; a web process writes them each ten seconds."""
    rows = stack.sql("select coalesce(sum(n), 0)::int as n from analytics_counts where what = 'view'")
    return int(rows[0]["n"])


async def names(window: Window) -> set[str]:
    return {str(one.get("name")) for one in await window.page.context.cookies()}


async def until_counted(stack: Stack, window: Window, number: int) -> None:
    deadline = time.monotonic() + 30
    while counted(stack) < number:
        assert time.monotonic() < deadline, counted(stack)
        await window.page.wait_for_timeout(250)


async def test_before_and_without_a_yes_nothing_is_set_fetched_or_counted_and_after_it_only_counted(
    stack: Stack, window: Window
) -> None:
    before, fetched = counted(stack), set[str]()
    window.page.on("request", lambda request: fetched.add(request.url))
    for path in PAGES:
        await window.goto(path)
    assert await names(window) == {"clofy-csrf"}

    await window.goto("/")
    files = {urlsplit(url).path for url in fetched}
    await window.see(f"{PANEL} button[value=yes]").click()
    await expect(window.see(PANEL)).to_have_count(0)
    assert await names(window) == {"clofy-csrf", "clofy-choice"}
    for path in ("/", "/privacy"):
        await window.goto(path)
    await until_counted(stack, window, before + 3)  # the page after the answer, and these two

    await window.goto("/cookies")  # one more
    await window.see("button[value=no]").click()
    await expect(window.see("#settings")).to_contain_text("You said no")
    for path in PAGES:
        await window.goto(path)
    await window.see("a[href='/cookies#settings']").click()
    await window.see("button[value=yes]").click()
    await expect(window.see("#settings")).to_contain_text("You said yes")  # the last one that is counted
    await until_counted(stack, window, before + 5)

    assert counted(stack) == before + 5
    assert await names(window) == {"clofy-csrf", "clofy-choice"}
    assert {urlsplit(url).netloc for url in fetched} == {urlsplit(stack.web_url).netloc}
    assert {urlsplit(url).path for url in fetched} - files <= {"/cookies", "/cookies/choice"}  # no script came with it


async def test_the_question_is_answered_with_the_keyboard(window: Window) -> None:
    await window.goto("/terms")
    await window.tab_to(f"{PANEL} button[value=no]")
    await window.page.keyboard.press("Enter")

    await expect(window.see(PANEL)).to_have_count(0)
    assert urlsplit(window.page.url).path == "/terms"


async def test_the_question_is_answered_without_scripts(stack: Stack, chromium: Browser) -> None:
    context = await chromium.new_context(base_url=stack.web_url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/terms")
    await page.click(f"{PANEL} button[value=no]")

    assert await page.locator(PANEL).count() == 0
    assert any(one.get("name") == "clofy-choice" for one in await context.cookies())
    await context.close()


async def test_a_browser_with_the_signal_is_not_asked_and_reads_that_it_is_honoured(
    stack: Stack, chromium: Browser
) -> None:
    async with Window.at(stack, chromium) as window:
        await window.page.set_extra_http_headers({"Sec-GPC": "1"})
        await window.goto("/")
        await expect(window.see(PANEL)).to_have_count(0)
        await window.goto("/cookies")
        await expect(window.see("#settings")).to_contain_text("Opt-out signal honoured")


async def test_every_cookie_that_is_ever_set_is_on_the_list_and_lives_as_long_as_it_says(
    stack: Stack, chromium: Browser, person: Person
) -> None:
    seen: dict[str, Any] = {}
    async with Window.at(stack, chromium) as window:
        window.forgiven.append("403")  # the child's registration

        async def look() -> None:
            seen.update({str(one.get("name")): one for one in await window.page.context.cookies(stack.web_url)})

        await window.goto("/sign-in")
        await window.page.fill("#email", person.email)
        await window.page.fill("#password", PASSWORD)
        await window.page.click("main button:not([type=button])")
        await window.page.wait_for_url("**/consultations")
        for path in (*PAGES, "/account", "/credits", "/statement", "/consultations", "/notices", "/security"):
            await window.goto(path)
            await look()
        await window.page.context.clear_cookies()
        await window.goto("/forgot")
        await window.page.fill("input[type=email]", person.email)
        await window.page.click("main button:not([type=button])")
        await window.page.wait_for_url("**/reset**")
        await look()
        await window.see(f"{PANEL} button[value=no]").click()
        await look()
        await window.goto("/register")
        await window.page.fill("#name", "Kim")
        await window.page.fill("#email", "kim@people.example")
        await window.page.fill("#password", "a long word or two of it")
        await window.page.fill("#birth_date", (datetime.now(UTC) - timedelta(days=3650)).date().isoformat())
        await window.page.click("main button:not([type=button])")
        await expect(window.see("[data-trouble]")).to_contain_text("You cannot register with this birth date")
        await look()

    assert set(seen) == set(LIVES) - {"clofy-step"}  # that one: tests/journeys/test_second_factors.py
    now = datetime.now(UTC).timestamp()
    for name, cookie in seen.items():
        lives = LIVES[name]
        assert (cookie["expires"] == -1) is (lives is None), name
        if lives is not None:
            assert 0 < cookie["expires"] - now <= lives.total_seconds() + 5, name
        assert cookie["httpOnly"], name


@pytest.mark.parametrize("path", ["/privacy", "/terms", "/cookies", "/privacy/versions", "/account/policies"])
async def test_the_pages_are_for_everybody(stack: Stack, chromium: Browser, person: Person, path: str) -> None:
    async with Window.at(stack, chromium, person=person) as window:
        await window.goto(path)

        assert await window.accessibility_faults() == []
