"""What a person does and sees, in a real Chromium on the real stack."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.house import Stack
from tests.journeys.chromium import PATIENCE, Window, launch
from tests.journeys.person import PASSWORD, Person

QUESTION = "Which of two offers should I take, when one pays more and the other teaches more?"


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


async def test_from_the_first_visit_to_the_receipt_with_the_keyboard_alone(stack: Stack, chromium: Browser) -> None:
    stack.control(openai={"gap_ms": 15, "tokens": 80})
    async with Person.at(stack) as somebody, Window.at(stack, chromium) as window:
        page = window.page

        await window.goto("/")
        await window.tab_to("a[href='/services/general-advisor']")
        await window.enter("/services/general-advisor")
        await window.tab_to("aside a[href^='/register']")
        await window.enter("/register?**")
        await window.type_into("#name", "Ada Brown")
        await window.type_into("#email", somebody.email)
        await window.type_into("#birth_date", "02031990")
        await window.type_into("#password", PASSWORD)
        await window.enter("/verify?**")
        code = re.search(r"\b(\d{6})\b", (await somebody.mails())[0]["text"])
        assert code is not None
        await window.type_into("#code", code[1])
        await window.enter("/sign-in?verified**")
        await window.type_into("#email", somebody.email)
        await window.type_into("#password", PASSWORD)
        await window.enter("/services/general-advisor")

        await window.tab_to("a[href='/credits']")
        await window.enter("/credits")
        await window.tab_to("[aria-label^='Buy Starter']")
        await window.enter(f"{stack.standins.url}/pay/**")
        await window.tab_to("button[value=card]")
        await window.enter("/credits/return**")
        await expect(window.see("[data-title]")).to_have_text("Thank you", timeout=PATIENCE)
        await expect(window.see("[data-balance-row]")).to_contain_text("500")

        await window.goto("/services/general-advisor")
        await window.tab_to("main aside button")
        await window.enter("/consultations/*")
        await window.type_into("#question", QUESTION)
        await expect(window.see("#price")).to_contain_text(re.compile(r"About [\d.]+, at most [\d.]+ credits"))
        await page.keyboard.press("Enter")
        await window.until_words()
        await expect(window.see("[data-so-far]")).to_have_text(re.compile(r"about [\d.]+ of at most [\d.]+ credits"))
        receipt = await window.until_receipts(1)

        generation = (await window.rows(page.url.rpartition("/")[2]))[0]["generation"]
        await expect(receipt.locator("[data-slot=outcome]")).to_have_text("Answered")
        await expect(receipt.locator("[data-slot=total]")).to_have_text(f"{generation['cost_mc'] / 1000:.3f}")
        await expect(receipt.locator("[data-slot=completion]")).to_have_text(str(generation["completion_tokens"]))
        await expect(window.see("#status")).to_contain_text("The answer is complete. It cost")
        await window.shows_its_row(page.url.rpartition("/")[2])


async def test_a_page_loaded_anew_in_mid_answer_goes_on(stack: Stack, person: Person, window: Window) -> None:
    stack.control(openai={"gap_ms": 30, "tokens": 150})
    consultation = await person.begin()
    await window.goto(f"/consultations/{consultation}")

    await window.ask(QUESTION)
    before = await window.until_words()
    await window.page.reload()
    after = await window.until_words(len(before))
    await window.until_receipts(1)

    assert after.startswith(before)
    assert await window.see(".question").count() == await window.see(".answer").count() == 1
    await window.shows_its_row(consultation)


async def test_a_stopped_answer_costs_what_was_written(stack: Stack, person: Person, window: Window) -> None:
    stack.control(openai={"gap_ms": 40, "tokens": 400})
    consultation = await person.begin()
    await window.goto(f"/consultations/{consultation}")

    await window.ask(QUESTION)
    await window.until_words()
    await window.page.click("[data-stop]")
    receipt = await window.until_receipts(1)

    await expect(receipt.locator("[data-slot=outcome]")).to_have_text("Stopped by you")
    generation = (await window.rows(consultation))[0]["generation"]
    assert 0 < generation["cost_mc"] < generation["hold_mc"]
    await expect(receipt.locator("[data-slot=total]")).to_have_text(f"{generation['cost_mc'] / 1000:.3f}")
    await window.shows_its_row(consultation)


async def test_where_sockets_are_blocked_the_answer_comes_by_polling(
    stack: Stack, person: Person, window: Window
) -> None:
    stack.control(openai={"gap_ms": 10, "tokens": 120})
    consultation = await person.begin()
    await window.page.route_web_socket("**/live", lambda socket: socket.close())
    await window.goto(f"/consultations/{consultation}")

    await window.ask(QUESTION)
    await expect(window.see("[data-way]")).to_contain_text("blocks live connections", timeout=PATIENCE)
    await window.until_receipts(1)

    await window.shows_its_row(consultation)


async def test_an_answer_that_begins_again_says_so_and_is_whole(stack: Stack, person: Person, window: Window) -> None:
    broken = {"kind": "cut", "after": 40}
    stack.control(openai={"gap_ms": 15, "tokens": 100, "fail": [{"status": 503, "retry_after": 2}, broken]})
    consultation = await person.begin()
    await window.goto(f"/consultations/{consultation}")

    await window.ask(QUESTION)
    await expect(window.see("[data-state-text]")).to_contain_text(
        re.compile(r"The model is busy, trying again in \d+ s")
    )
    await window.until_words()
    await expect(window.see("[data-state-text]")).to_contain_text("trying again in", timeout=PATIENCE)
    await expect(window.see("#status")).to_contain_text("is being written anew", timeout=PATIENCE)
    await window.until_receipts(1)

    await window.shows_its_row(consultation)


async def test_without_credits_one_is_told_what_is_missing_and_the_draft_is_kept(
    stack: Stack, person: Person, window: Window
) -> None:
    consultation = await person.begin()
    stack.leave_credits(person.email, 1_500)
    window.forgiven.append(r"status of 402")
    await window.goto(f"/consultations/{consultation}")

    await window.ask(QUESTION)

    trouble = window.see("[data-composer] [data-trouble]")
    await expect(trouble).to_have_text(re.compile(r"you have 1\.5: [\d.]+ are missing\. Buy credits"))
    await expect(trouble.locator("a")).to_have_attribute("href", f"/credits?next=%2Fconsultations%2F{consultation}")
    await window.page.reload()
    await expect(window.see("#question")).to_have_value(QUESTION)
    assert await window.rows(consultation) == []


async def test_the_statement_sums_up(stack: Stack, person: Person, window: Window) -> None:
    stack.control(openai={"first_token_ms": 5, "gap_ms": 0})
    consultation = await person.begin()
    for _ in range(3):
        await person.until_ended(await person.asked(consultation))

    await window.goto("/statement")

    amounts = [credits_of(one) for one in await window.see("td.sum:not(.after)").all_text_contents()]
    after = [credits_of(one) for one in await window.see("td.after").all_text_contents()]
    assert len(amounts) == 4
    assert after == [sum(amounts[place:]) for place in range(len(amounts))]
    assert after[0] == (await person.credits())["balance_mc"]


async def test_who_signs_out_leaves_nothing_in_the_browser(person: Person, window: Window) -> None:
    # The page's socket may have its ticket already, and is refused when it comes after the sign-out: as it must be.
    window.forgiven.append(r"/live' failed: .* response code: 403")
    await window.goto(f"/consultations/{await person.begin()}")
    await window.page.fill("#question", "A draft that nobody else should see")
    await window.goto("/account")

    await window.page.click("form[data-forget] button")
    await window.page.wait_for_url("**/")
    await expect(window.see("nav a[href='/sign-in']")).to_be_attached()

    assert await window.page.evaluate("sessionStorage.length + localStorage.length") == 0
    assert "clofy" not in [cookie.get("name") for cookie in await window.page.context.cookies()]
    await window.goto("/statement")
    assert "/sign-in?next=/statement" in window.page.url


@pytest.mark.timeout(180)
async def test_no_page_keeps_anybody_out(stack: Stack, person: Person, window: Window) -> None:
    stack.control(openai={"first_token_ms": 5, "gap_ms": 0})
    consultation = await person.begin()
    await person.until_ended(await person.asked(consultation))
    purchase = await person.buy("studio")
    window.forgiven.append(r"status of 404")
    faults = []

    for path in (
        "/",
        "/services/general-advisor",
        "/register",
        "/verify?email=ada@example.org",
        "/consultations",
        f"/consultations/{consultation}",
        f"/consultations/{await person.begin()}",
        "/credits",
        f"/credits/return?purchase={purchase['id']}",
        "/statement",
        "/statement?kind=usage",
        "/statement?kind=expiry",
        "/statement/months",
        f"/statement/months/{datetime.now(UTC):%Y-%m}",
        "/receipts",
        "/account",
        "/nothing",
    ):
        await window.goto(path)
        if receipt := await window.see(".receipt:visible summary").all():
            await receipt[0].click()
        faults += [f"{path}: {fault}" for fault in await window.accessibility_faults()]

    assert faults == []


async def test_signing_in_keeps_nobody_out(stack: Stack, chromium: Browser) -> None:
    async with Window.at(stack, chromium) as window:
        await window.goto("/sign-in")

        assert await window.accessibility_faults() == []


def credits_of(text: str) -> int:
    """The millicredits of an amount as the pages write it."""
    return int(re.sub(r"[,.+]", "", text.strip()).replace("−", "-"))
