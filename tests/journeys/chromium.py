"""A real Chromium, and a person's window in it. Whatever its console complains of fails the test."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Playwright, ViewportSize, expect

from tests.house import House
from tests.journeys.person import Person

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
DESK, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
HAS_RING = """() => {
    const here = document.activeElement;
    const shown = [[here], [here, "::after"], [here.closest(".box, .paper") ?? here]];  // a card, a field in its box
    return shown.some(([node, part]) => getComputedStyle(node, part).outlineStyle !== "none");
}"""
PATIENCE = 15_000  # ms; machines of a build are slow


async def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium. It is missing only where .ci/run has not installed it: that is an error, not a skip."""
    path = shutil.which("chromium")
    assert path, "Chromium is not installed: `apt-get install chromium`, or let .ci/run do it"
    return await playwright.chromium.launch(executable_path=path, args=FLAGS)


@dataclass
class Window:
    """A tab of somebody's own browser, with what went wrong in it."""

    house: House
    page: Page
    complaints: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)  # what a test has brought about itself, as patterns

    @classmethod
    @asynccontextmanager
    async def at(
        cls, house: House, browser: Browser, *, person: Person | None = None, url: str | None = None
    ) -> AsyncIterator[Self]:
        """Open one, signed in as `person`; at its end nothing may have gone wrong in it.

        url: where it looks at the house; its own address, unless given
        """
        context = await browser.new_context(base_url=url or house.web_url, viewport=DESK, locale="en-US")
        context.set_default_timeout(PATIENCE)
        if person is not None:
            cookies: list[Any] = [
                {"name": cookie.name, "value": cookie.value or "", "url": house.web_url}
                for cookie in person.http.cookies.jar
            ]
            await context.add_cookies(cookies)
        here = cls(house, await context.new_page())
        here.page.on("console", here._heard)
        here.page.on("pageerror", lambda error: here.complaints.append(f"uncaught: {error}"))
        yield here
        await context.close()
        rest = [one for one in here.complaints if not any(re.search(pattern, one) for pattern in here.forgiven)]
        assert rest == [], f"the browser's console: {rest}"

    def _heard(self, message: ConsoleMessage) -> None:
        """Chromium tells of each violation of the Content-Security-Policy, and of each refused answer, as an error.

        What the page of Stripe's stand-in lacks is none of our business.
        """
        source = message.location["url"]
        if message.type in ("error", "warning") and not source.startswith(self.house.standins.url):
            self.complaints.append(f"{message.text} ({source})")

    async def goto(self, path: str) -> None:
        await self.page.goto(path)

    def see(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def tab_to(self, selector: str) -> None:
        """Press Tab until the focus is there, and seen to be there."""
        for _ in range(60):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("(what) => document.activeElement.matches(what)", selector):
                assert await self.page.evaluate(HAS_RING), f"{selector} has the focus, and nobody sees it"
                return
        raise AssertionError(f"{selector} is not reached with the keyboard")

    async def type_into(self, selector: str, text: str) -> None:
        await self.tab_to(selector)
        await self.page.keyboard.type(text)

    async def enter(self, lands_on: str) -> None:
        """Press Enter, and be on another page."""
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url(lands_on)

    async def ask(self, text: str) -> None:
        await self.page.fill("#question", text)
        await self.page.press("#question", "Enter")

    async def until_words(self, count: int = 60) -> str:
        """Until the answer that is being written has so many characters; what there is of it."""
        live = self.see(".answer .live")
        await expect(live).to_have_text(re.compile(rf"[\s\S]{{{count},}}"), timeout=PATIENCE)
        return await live.text_content() or ""

    async def until_receipts(self, count: int) -> Locator:
        """Until so many answers have ended; the last one's receipt, opened."""
        await expect(self.see(".receipt:visible")).to_have_count(count, timeout=2 * PATIENCE)
        receipt = self.see(".receipt").last
        await receipt.locator("summary").click()
        return receipt

    async def shown_answer(self) -> str:
        return await self.see(".answer [data-text]").last.text_content() or ""

    async def rows(self, consultation: str) -> list[dict[str, Any]]:
        """The messages as the API gives them, from their rows."""
        answer = await self.page.request.get(f"/api/consultations/{consultation}")
        messages: list[dict[str, Any]] = (await answer.json())["messages"]
        return messages

    async def shows_its_row(self, consultation: str) -> None:
        """The answer on the page has each word of the answer in its row, and looks the same on a page loaded anew."""
        shown = await self.shown_answer()
        row = [message for message in await self.rows(consultation) if message["role"] == "answer"][-1]
        assert plain(shown) == plain(row["text"])
        receipts = await self.see(".receipt:visible").count()
        await self.page.reload()
        await expect(self.see(".receipt:visible")).to_have_count(receipts)
        assert await self.shown_answer() == shown

    async def accessibility_faults(self) -> list[str]:
        """What axe-core finds on this page, light and dark, on a desk and on a phone; and where it is too wide."""
        faults = []
        for size in (DESK, PHONE):
            await self.page.set_viewport_size(size)
            for scheme in SCHEMES:
                # Without motion colours change at once, and not while they are measured.
                await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                for fault in (await Axe().run(self.page)).response["violations"]:
                    faults += [f"{size['width']} {scheme} {fault['id']}: {one['html'][:160]}" for one in fault["nodes"]]
            over = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            faults += [f"it is {over} px wider than {size['width']} px"] if over > 0 else []
        return faults


def plain(text: str) -> str:
    """The characters of a text without its spaces and without the numbers of its list items."""
    return re.sub(r"\s", "", re.sub(r"^\d+\. ", "", text, flags=re.MULTILINE))
