"""One's own data in a real Chromium on the real stack: asked for, confirmed, restricted; and the desk of admins."""

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


async def test_a_person_asks_with_the_keyboard_restricts_and_ends_it(person: Person, window: Window) -> None:
    await window.goto("/account")
    await window.page.click("text=My data")
    await expect(window.see("main")).to_contain_text("The words of your questions and of the model's answers")
    await window.tab_to("#kind")
    await window.page.keyboard.type("Correct")
    await window.type_into("#details", "My old company.")
    await window.tab_to(".ask button")
    await window.page.keyboard.press("Enter")

    await expect(window.see("main")).to_contain_text("A correction somebody of us works on it", timeout=PATIENCE)
    await window.page.select_option("#kind", "restriction")
    await window.page.click("form[data-api='/api/privacy/requests'] >> text=Ask")
    await expect(window.see("[aria-label=Restriction]")).to_be_visible(timeout=PATIENCE)
    assert await window.accessibility_faults() == []
    assert (await person.ask(await person.begin())).json()["code"] == "data-restricted"

    await window.page.click("text=End it: use my data as before")

    await expect(window.see("[aria-label=Restriction]")).to_be_hidden(timeout=PATIENCE)
    assert (await person.ask(await person.begin())).status_code == 202


async def test_a_mail_is_entered_by_an_admin_confirmed_by_its_owner_and_answered(
    stack: Stack, chromium: Browser, person: Person, window: Window
) -> None:
    async with admin_of(stack) as admin, Window.at(stack, chromium, person=admin) as desk:
        await desk.goto("/admin/requests/new")
        await desk.page.fill("#sender", person.email)
        await desk.page.select_option("#kind", "correction")
        await desk.page.fill("#details", "I am called Pat.")
        assert await desk.accessibility_faults() == []
        await desk.page.click("text=Enter it")
        await expect(desk.see("h1")).to_have_text("Correction", timeout=PATIENCE)
        await expect(desk.see("main")).to_contain_text("Nobody knows yet who asks")
        assert await desk.accessibility_faults() == []

        mail = next(one for one in await person.mails(3) if "Is this request yours?" in one["subject"])
        assert "a correction" in mail["text"]
        await window.goto("/account/data")
        await expect(window.see("main")).to_contain_text("a mail asked us for a correction, in your name")
        assert await window.accessibility_faults() == []
        await window.page.click("text=It was me: do it")
        await expect(window.see("[aria-label='A request by mail']")).to_be_hidden(timeout=PATIENCE)

        await desk.page.reload()
        await desk.page.click("text=Answer and close")
        await desk.page.fill("#answer", "You are called Pat now.")
        await desk.page.click("form[data-api$='/answer'] button")
        await expect(desk.see("main")).to_contain_text("Answered", timeout=PATIENCE)
        await desk.goto("/admin/requests?which=closed")
        await expect(desk.see(".list")).to_contain_text(person.email)
        assert await desk.accessibility_faults() == []

    await window.goto("/account/data")
    await expect(window.see("main")).to_contain_text("You are called Pat now.")


async def test_the_help_center_is_for_everybody(stack: Stack, chromium: Browser) -> None:
    async with Window.at(stack, chromium) as window:
        await window.goto("/")
        await window.page.click(".foot >> text=Help")

        await expect(window.see("h1")).to_have_text("Help Center")
        await expect(window.see("#time + ul")).to_contain_text("within 10 business days")
        assert await window.accessibility_faults() == []
