"""Money as people see and move it, in a real Chromium on the real stack: refunds, failed payments, an admin's hand."""

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
    """Of a person who is signed in, with 500 credits."""
    async with Window.at(stack, chromium, person=person) as opened:
        yield opened


async def test_the_unused_part_comes_back_with_the_keyboard_alone(stack: Stack, person: Person, window: Window) -> None:
    await window.goto("/credits")
    await window.tab_to("a.bought")
    await window.enter("/credits/purchases/*")
    await window.tab_to("[data-opens]")
    await window.page.keyboard.press("Enter")
    await expect(window.see("dialog")).to_contain_text("500 credits go at once")
    await window.page.keyboard.press("Escape")
    await expect(window.see("dialog")).to_be_hidden()
    await window.page.keyboard.press("Enter")  # the focus is back on the button
    await window.tab_to("dialog form .button:not(.quiet)")
    await window.page.keyboard.press("Enter")

    await expect(window.see("main")).to_contain_text("paid back", timeout=PATIENCE)
    await expect(window.see("main")).to_contain_text("paid, and all of it given back")
    await expect(window.see("main")).to_contain_text("No refund can be asked for here")
    assert (await person.credits())["balance_mc"] == 0


async def test_a_bundle_is_bought_in_the_currency_that_was_chosen(stack: Stack, person: Person, window: Window) -> None:
    await window.goto("/credits")
    await window.page.click("nav.currencies >> text=JPY")
    await window.page.click("[aria-label='Buy Starter for ¥800']")
    await window.page.wait_for_url(f"{stack.standins.url}/pay/**")
    await window.page.click("button[value=card]")

    await expect(window.see("[data-title]")).to_have_text("Thank you", timeout=PATIENCE)
    await expect(window.see("[data-waiting]")).to_be_hidden()
    bought = (await person.get("/api/purchases"))["purchases"][0]
    assert (bought["currency"], bought["amount_minor"], bought["state"]) == ("jpy", 800, "paid")
    await person.until_credits(1_000_000)


async def test_credits_are_on_the_return_page_within_five_seconds_with_webhooks_off(
    stack: Stack, person: Person, window: Window
) -> None:
    stack.control(stripe={"webhooks": "off"})
    await window.goto("/credits")
    await window.page.click("[aria-label^='Buy Plus']")
    await window.page.wait_for_url(f"{stack.standins.url}/pay/**")
    await window.page.click("button[value=card]")
    await window.page.wait_for_url("**/credits/return**")

    await expect(window.see("[data-balance-row]")).to_contain_text("2,150", timeout=5_000)


async def test_a_payment_that_failed_says_so_and_what_to_do(stack: Stack, person: Person, window: Window) -> None:
    stack.control(stripe={"settle_after_ms": None})
    await window.goto("/credits")
    await window.page.click("[aria-label^='Buy Plus']")
    await window.page.wait_for_url(f"{stack.standins.url}/pay/**")
    await window.page.click("button[value=delayed]")
    await window.page.wait_for_url("**/credits/return**")
    await expect(window.see("[data-waiting]")).to_be_visible()

    query = "select stripe_session_id as id from purchases where id = cast(:id as uuid)"
    [row] = stack.sql(query, id=window.page.url.rpartition("=")[2])
    settle = f"{stack.standins.url}/control/stripe/sessions/{row['id']}/settle"
    settled = await person.http.post(settle, json={"succeeds": False})
    assert settled.is_success, settled.text

    await expect(window.see("[data-title]")).to_have_text("Not paid", timeout=PATIENCE)
    await expect(window.see("[data-progress]")).to_contain_text("another way to pay")
    await expect(window.see("[data-again] a").first).to_have_attribute("href", "/credits?currency=usd")
    await expect(window.see("[data-waiting]")).to_be_hidden()


async def test_an_admin_reads_what_changes_before_it_does(stack: Stack, chromium: Browser, person: Person) -> None:
    async with admin_of(stack) as admin, Window.at(stack, chromium, person=admin) as window:
        await window.goto("/admin")
        await window.page.fill("#email", person.email[:20])
        await window.page.press("#email", "Enter")
        await window.page.click(f"text={person.email}")
        await window.page.click("summary")
        await window.page.fill("#amount_mc", "12.x")
        await window.page.fill("#reason", "Sorry for Monday")
        await window.page.click("[data-adjust] button")
        await expect(window.see("#amount_mc-error")).to_contain_text("an amount as 12.5")
        await window.page.fill("#amount_mc", "12.5")
        await window.page.press("#amount_mc", "Enter")
        await expect(window.see("#confirm")).to_contain_text("The balance goes from 500 to 512.5.")
        await window.page.click("#confirm button[value=no]")
        assert (await person.credits())["balance_mc"] == 500_000
        await window.page.click("[data-adjust] button")
        await window.page.click("#confirm button[value=yes]")

        await expect(window.see(".timeline tr").nth(1)).to_contain_text("+12.500", timeout=PATIENCE)
        await expect(window.see(".timeline")).to_contain_text(f"Adjustment by {admin.email}")
        assert (await person.credits())["balance_mc"] == 512_500
        faults = []
        for path in ("/admin", "/admin?email=clofy", window.page.url, "/admin/books"):
            await window.goto(path)
            for summary in await window.see("summary").all():
                await summary.click()
            faults += [f"{path}: {fault}" for fault in await window.accessibility_faults()]
        assert faults == []


@pytest.mark.timeout(180)
async def test_no_page_of_money_keeps_anybody_out(stack: Stack, person: Person, window: Window) -> None:
    bought = (await person.get("/api/purchases"))["purchases"][0]["id"]
    faults = []

    for path in ("/credits?currency=kwd", "/credits/purchases", f"/credits/purchases/{bought}"):
        await window.goto(path)
        faults += [f"{path}: {fault}" for fault in await window.accessibility_faults()]
    await window.page.click("[data-opens]")
    faults += [f"dialog: {fault}" for fault in await window.accessibility_faults()]
    # A window of half the width and height: what a desk shows at 200 % zoom.
    await window.page.set_viewport_size({"width": 640, "height": 400})
    button = window.see("dialog form .button:not(.quiet)")
    await button.scroll_into_view_if_needed()
    await expect(button).to_be_in_viewport()

    assert faults == []
