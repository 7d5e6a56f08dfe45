"""A team in a real Chromium on the real stack: asked by mail, joined with open eyes, looked at, told, left."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.house import Stack
from tests.journeys.chromium import PATIENCE, Window, launch
from tests.journeys.person import Person

WORDS = "How do I tell my landlord that I move out?"


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def guest(stack: Stack) -> AsyncIterator[Person]:
    """Registered, signed in, with credits of their own."""
    async with Person.at(stack) as somebody:
        await somebody.register()
        await somebody.buy("starter")
        await somebody.until_credits(500_000)
        yield somebody


async def link_in_mail(stack: Stack, guest: Person) -> str:
    """Where the mail of the invitation leads to, as its reader finds it."""
    asked = {"to": guest.email, "subject": "An invitation to a team", "wait": "30"}
    (mail,) = (await guest.http.get(f"{stack.standins.url}/mail", params=asked, timeout=40)).json()
    found = re.search(r"https?://\S+/account/teams/invitations/\S+", mail["text"])
    assert found is not None, mail["text"]
    return found[0]


async def well(window: Window) -> None:
    assert await window.accessibility_faults() == []


async def test_a_team_from_the_invitation_to_leaving(
    stack: Stack, chromium: Browser, person: Person, guest: Person
) -> None:
    async with (
        Window.at(stack, chromium, person=person) as owner,
        Window.at(stack, chromium, person=guest) as member,
    ):
        await owner.goto("/account")
        await owner.page.click("text=Teams")
        await well(owner)
        await owner.type_into("#name", "Moving out")
        await owner.tab_to(".narrow button")
        await owner.page.keyboard.press("Enter")
        await expect(owner.see("h1")).to_have_text("Moving out", timeout=PATIENCE)
        team = owner.page.url
        await owner.page.fill("#email", guest.email)
        await owner.page.press("#email", "Enter")
        await expect(owner.see("main")).to_contain_text(guest.email, timeout=PATIENCE)

        await member.page.goto(await link_in_mail(stack, guest))
        await expect(member.see("h1")).to_have_text("Join “Moving out”?")
        await expect(member.see("main")).to_contain_text(person.email)
        await well(member)
        await member.tab_to("[value=content] + button")
        await member.page.keyboard.press("Enter")
        await expect(member.see("h1")).to_have_text("Moving out", timeout=PATIENCE)
        await well(member)

        await guest.until_ended(await guest.asked(await guest.begin(), WORDS))
        has = await person.credits()

        await owner.goto(team)
        await well(owner)
        await owner.page.click("text=Usage")
        await expect(owner.see(".usage").first).to_contain_text("1")
        await well(owner)
        await owner.goto(team)
        await owner.page.click(".people >> text=Consultations")
        await well(owner)
        await owner.page.click(f"text={WORDS}")
        await expect(owner.see(".shared .said").first).to_have_text(WORDS)
        await well(owner)
        assert await person.credits() == has

        await member.page.click("text=Who looked at what you do")
        await expect(member.see(".list > li")).to_have_count(3)
        await expect(member.see(".list")).to_contain_text("the words of a consultation")
        await well(member)
        await member.page.go_back()
        await member.page.click("button:text('Stop showing words')")
        await expect(member.see("main")).to_contain_text("Usage only", timeout=PATIENCE)

        owner.forgiven.append("status of 403")
        await owner.page.reload()
        await expect(owner.see("main")).to_contain_text("does not show")
        await member.page.click("text=Leave the team")
        await expect(member.see(".empty")).to_contain_text("You are in no team", timeout=PATIENCE)
        await owner.goto(team)
        await expect(owner.see(".people > li")).to_have_count(1)
        await owner.page.click("text=Delete the team")
        await owner.page.click("text=Delete “Moving out”")
        await expect(owner.see(".empty")).to_contain_text("You are in no team", timeout=PATIENCE)
