"""Notices and mails in a real Chromium on the real stack: pushed to an open page, read, turned off, sent again."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.house import Stack
from tests.journeys.chromium import PATIENCE, Window, launch
from tests.journeys.person import Person, admin_of


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def window(stack: Stack, chromium: Browser, person: Person) -> AsyncIterator[Window]:
    async with Window.at(stack, chromium, person=person) as opened:
        yield opened


async def test_a_purchase_is_in_the_inbox_and_a_new_notice_comes_to_the_open_page(
    stack: Stack, person: Person, window: Window
) -> None:
    """The receipt's mail and notice are one occasion; the other one is written by hand, as any cause writes it."""
    await stack.quiet()
    await window.goto("/notices")
    await expect(window.see(".notices")).to_contain_text("Credits bought")
    await expect(window.see("[data-unread]")).to_have_text(re.compile(r"^\s*1\s*unread"))
    await expect(window.see("main")).to_contain_text("handed to your mail server")

    stack.sql(
        """
        insert into notices (key, account_id, kind, facts)
        select 'test:' || gen_random_uuid(), id, 'low_balance', '{"credits": "19"}' from accounts where email = :email
        """,
        email=person.email,
    )
    await expect(window.see("[data-unread]")).to_have_text(re.compile(r"^\s*2\s*unread"), timeout=PATIENCE)
    await expect(window.see("[data-more]")).to_be_visible()
    assert await window.accessibility_faults() == []
    await window.page.click("text=Show them")
    await window.page.click("text=Mark all as read")

    await expect(window.see("[data-unread]")).to_be_hidden(timeout=PATIENCE)


async def test_news_are_wanted_and_ended_by_the_link_in_a_mail(stack: Stack, person: Person, window: Window) -> None:
    await window.goto("/notices")
    await window.page.click("[aria-label^='Turn on: News']")
    await expect(window.see("[aria-label^='Turn off: News']")).to_be_visible(timeout=PATIENCE)
    news = stack.sql(
        """
        with made as (
            insert into announcements (title, text, made_by)
            values ('A new service', 'It writes letters.', gen_random_uuid())
            returning id
        )
        insert into jobs (id, task, queue, key, payload, max_attempts, backoff, backoff_cap, ring_at)
        select gen_random_uuid(), 'letters.announce', 'upkeep', 'announcement:' || id || ':0:None',
               jsonb_build_object('announcement_id', id, 'round', 0), 12, 5, 600, now() from made
        returning payload
        """
    )
    assert news
    asked = {"to": person.email, "subject": "A new service", "wait": "30"}
    found = (await person.http.get(f"{stack.standins.url}/mail", params=asked, timeout=40)).json()
    link = found[0]["headers"]["List-Unsubscribe"].strip("<>")

    await window.page.goto(link)
    assert await window.accessibility_faults() == []
    await window.page.click("text=Write no more of these to me")

    await expect(window.see("h1")).to_have_text("Done", timeout=PATIENCE)
    topics = (await person.get("/api/account/mail-topics"))["topics"]
    assert {one["topic"]: one["wanted"] for one in topics} == {"announcements": False, "low_balance": True}
    assert found[0]["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


async def test_what_an_admin_has_written_is_there_after_signing_in_again(stack: Stack, chromium: Browser) -> None:
    async with admin_of(stack) as admin, Window.at(stack, chromium, person=admin) as window:
        window.forgiven.append("403")
        await window.goto("/admin/announcements")
        await window.page.fill("#title", "A new service")
        await window.page.fill("#text", "It writes letters.")
        moved = """
            update web_sessions set proven_at = proven_at {} interval '31 minutes'
            where account_id = (select id from accounts where email = :email)
        """
        stack.sql(moved.format("-"), email=admin.email)

        await window.page.click("text=Send to all who want news")
        await window.page.wait_for_url("**/sign-in?again&next=%2Fadmin%2Fannouncements")
        stack.sql(moved.format("+"), email=admin.email)  # as a sign-in does
        await window.goto("/admin/announcements")

        await expect(window.see("#text")).to_have_value("It writes letters.")
        await expect(window.see("#title")).to_have_value("A new service")
        assert await window.accessibility_faults() == []
        await window.goto("/admin/announcements")
        await expect(window.see("#text")).to_have_value("")
