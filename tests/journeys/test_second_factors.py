"""Passkeys and authenticator apps in a real Chromium, with the virtual authenticator of its own tools."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pyotp
import pytest
from playwright.async_api import Browser, CDPSession, Request, async_playwright, expect

from tests.house import Stack
from tests.journeys.chromium import Window, launch
from tests.journeys.person import PASSWORD, Person

INSIDE = re.compile(r"^http://[^/]+/consultations$")
REFUSED = r"status of (400|401|403)"


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest.fixture
async def owner(stack: Stack) -> AsyncIterator[Person]:
    async with Person.at(stack) as somebody:
        await somebody.register()
        yield somebody


@pytest.fixture
async def window(stack: Stack, chromium: Browser) -> AsyncIterator[Window]:
    """Of a browser that knows the sandbox by its name: passkeys are bound to one."""
    async with Window.at(stack, chromium, url=stack.web_url.replace("127.0.0.1", "localhost")) as opened:
        yield opened


class Device:
    """The authenticator that Chromium plays."""

    def __init__(self, tools: CDPSession, name: str) -> None:
        self.tools, self.name = tools, name

    @classmethod
    async def in_(cls, window: Window) -> "Device":
        tools = await window.page.context.new_cdp_session(window.page)
        await tools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        added = await tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return cls(tools, added["authenticatorId"])

    async def verifies(self, verified: bool) -> None:
        """Whether the person's finger or PIN is the right one."""
        await self.tools.send("WebAuthn.setUserVerified", {"authenticatorId": self.name, "isUserVerified": verified})

    async def credentials(self) -> list[dict[str, Any]]:
        told = await self.tools.send("WebAuthn.getCredentials", {"authenticatorId": self.name})
        found: list[dict[str, Any]] = told["credentials"]
        return found

    async def set_count(self, count: int) -> None:
        """As a copy of the device would have it."""
        (one,) = await self.credentials()
        await self.tools.send(
            "WebAuthn.removeCredential", {"authenticatorId": self.name, "credentialId": one["credentialId"]}
        )
        copied = {**one, "signCount": count}
        await self.tools.send("WebAuthn.addCredential", {"authenticatorId": self.name, "credential": copied})


async def give_password(window: Window, owner: Person, lands_on: str | re.Pattern[str]) -> None:
    await window.goto("/sign-in")
    await window.page.fill("#email", owner.email)
    await window.page.fill("#password", PASSWORD)
    await window.page.click("button:text-is('Sign in')")
    await window.page.wait_for_url(lands_on)


async def sign_out(window: Window) -> None:
    await window.goto("/account")
    await window.page.click("button:text-is('Sign out')")
    await window.page.wait_for_url("**/")


async def add_passkey(window: Window, name: str) -> list[str]:
    """Add one on the security page; the recovery codes that came with it, if it was the first factor."""
    await window.goto("/security")
    await window.page.fill("#name", name)
    await window.page.click("button:text-is('Add a passkey')")
    codes = (await window.see("#codes [data-list]").inner_text()).split() if await _shows_codes(window) else []
    if codes:
        await window.page.click("button:text-is('I have kept them')")
    await expect(window.see(".entry .words").filter(has_text=name)).to_be_visible()
    return codes


async def _shows_codes(window: Window) -> bool:
    await expect(window.see("#codes[open], .entry").first).to_be_visible()
    return await window.see("#codes[open]").count() > 0


def tries(stack: Stack) -> int:
    """What counts for this machine: each challenge, and each sign-in that failed."""
    return sum(len(row["tries"]) for row in stack.sql("select tries from limit_counts"))


async def test_a_passkey_is_the_second_step_and_then_the_whole_of_a_sign_in(
    window: Window, owner: Person, stack: Stack
) -> None:
    window.forgiven.append(REFUSED)
    stack.sql("delete from limit_counts")
    device = await Device.in_(window)
    answers: list[Request] = []
    window.page.on("request", lambda request: answers.append(request) if _is_answer(request) else None)
    await give_password(window, owner, INSIDE)

    codes = await add_passkey(window, "Laptop")
    assert len(codes) == 10
    await sign_out(window)
    await give_password(window, owner, "**/sign-in/second-step**")
    assert await window.accessibility_faults() == []
    await window.page.click("button:text-is('Use a passkey')")
    await window.page.wait_for_url(INSIDE)

    assert tries(stack) == 1  # the challenge: a sign-in that succeeded is none
    await sign_out(window)
    await window.goto("/sign-in")
    await window.page.click("button:text-is('Sign in with a passkey')")
    await window.page.wait_for_url(INSIDE)
    assert tries(stack) == 2
    assert [one["isResidentCredential"] for one in await device.credentials()] == [True]

    await sign_out(window)
    again = await _send_again(window, answers[-1])
    assert again == 400  # its challenge was used
    assert tries(stack) == 3
    await device.verifies(False)
    await window.goto("/sign-in")
    await window.page.click("button:text-is('Sign in with a passkey')")
    await expect(window.see(".trouble:visible")).to_contain_text("No passkey was given")
    assert window.page.url.endswith("/sign-in")


def _is_answer(request: Request) -> bool:
    return request.url.endswith("/api/session/passkey")


async def _send_again(window: Window, request: Request) -> int:
    """The same answer once more, with a CSRF token that is right."""
    await window.goto("/sign-in")
    token = await window.see('meta[name="csrf-token"]').get_attribute("content")
    sent = await window.page.request.post(
        request.url,
        data=request.post_data,
        headers={"X-CSRF-Token": token or "", "Content-Type": "application/json"},
    )
    return sent.status


async def test_a_copied_passkey_whose_count_is_behind_is_refused(window: Window, owner: Person) -> None:
    window.forgiven.append(REFUSED)
    device = await Device.in_(window)
    await give_password(window, owner, INSIDE)
    await add_passkey(window, "Key")
    await sign_out(window)
    for _ in range(2):
        await window.goto("/sign-in")
        await window.page.click("button:text-is('Sign in with a passkey')")
        await window.page.wait_for_url(INSIDE)
        await sign_out(window)

    await device.set_count(1)
    await window.goto("/sign-in")
    await window.page.click("button:text-is('Sign in with a passkey')")

    await expect(window.see(".trouble:visible")).to_contain_text("not accepted")


async def test_an_app_is_set_up_from_the_page_and_asked_for(window: Window, owner: Person) -> None:
    window.forgiven.append(REFUSED)
    await give_password(window, owner, INSIDE)
    await window.goto("/security")
    await window.page.click("button:text-is('Set up an app')")
    await expect(window.see("[data-qr]")).to_be_visible()
    assert await window.page.evaluate("document.querySelector('[data-qr]').decode().then(() => true)")
    key = re.sub(r"\s", "", await window.see("[data-key]").inner_text())
    assert await window.accessibility_faults() == []
    await window.page.fill("#code", pyotp.TOTP(key).at(datetime.now(UTC)))
    await window.page.press("#code", "Enter")
    await expect(window.see("#codes[open]")).to_be_visible()
    codes = (await window.see("#codes [data-list]").inner_text()).split()
    await window.page.click("button:text-is('I have kept them')")
    await expect(window.see("main")).to_contain_text("In use since")
    assert await window.accessibility_faults() == []

    await sign_out(window)
    await give_password(window, owner, "**/sign-in/second-step**")
    await window.page.click("summary:text-is('Use a recovery code')")
    await window.page.fill("#recovery-code", codes[0])
    await window.page.press("#recovery-code", "Enter")
    await window.page.wait_for_url(INSIDE)
    assert len(codes) == 10


async def test_what_needs_a_fresh_sign_in_leads_there_and_back(window: Window, owner: Person, stack: Stack) -> None:
    window.forgiven.append(REFUSED)
    await give_password(window, owner, INSIDE)
    stack.sql(
        """
        update web_sessions set proven_at = proven_at - interval '31 minutes'
        where account_id = (select id from accounts where email = :email)
        """,
        email=owner.email,
    )
    await window.goto("/security")
    await window.page.click("button:text-is('Set up an app')")
    await window.page.wait_for_url("**/sign-in?again**")

    assert await window.page.input_value("#email") == owner.email
    await window.page.fill("#password", PASSWORD)
    await window.page.press("#password", "Enter")
    await window.page.wait_for_url("**/security")
    await window.page.click("button:text-is('Set up an app')")
    await expect(window.see("[data-qr]")).to_be_visible()
