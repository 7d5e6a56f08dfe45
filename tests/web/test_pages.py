"""The pages: how they write credits, where they lead, what browsers may keep, and that all they lead to is there."""

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from core.consultations import catalogue, conversation
from core.database import transaction
from tests.core.billing.kit import make_purchase, sign_in
from tests.makers import make_consultation
from web.pages import filters
from web.pages.assets import assets, static_url
from web.pages.paths import local_path
from web.pages.prices import USUAL_QUESTION, usual_most_mc


@pytest.mark.parametrize(
    ("mc", "text"),
    [(0, "0"), (1, "0.001"), (1000, "1"), (1312, "1.312"), (1500, "1.5"), (5_000_000, "5,000"), (-250, "−0.25")],
)
def test_credits_are_written_exactly(mc: int, text: str) -> None:
    assert filters.credits_text(mc) == text


def test_estimates_are_never_below_and_balances_never_above_what_they_stand_for() -> None:
    assert (filters.rough_text(1261), filters.rough_text(12_310)) == ("1.27", "12.4")
    assert (filters.rough_down_text(1269), filters.rough_down_text(12_399)) == ("1.26", "12.3")


@pytest.mark.parametrize("path", ["/", "/consultations", "/credits?next=/a", "/services/a#b"])
def test_a_path_of_this_site_may_be_next(path: str) -> None:
    assert local_path(path, otherwise="/no") == path


@pytest.mark.parametrize(
    "path",
    [None, "", "consultations", "//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "/a\n",
     "javascript:alert(1)", "/" + "a" * 500, "/a\\b", "/\x7f"],
)  # fmt: skip
def test_what_a_browser_might_take_for_another_site_may_not(path: str | None) -> None:
    assert local_path(path, otherwise="/no") == "/no"


def test_all_modules_of_a_page_have_one_version_and_unknown_ones_none() -> None:
    assert static_url("chat.js") == f"/assets/{assets().version}/chat.js"
    with pytest.raises(KeyError):
        static_url("nothing.js")


def test_texts_say_when_they_go() -> None:
    now = datetime.now(UTC)

    assert filters.is_purged(now - timedelta(days=31))
    assert not filters.is_purged(now.isoformat())


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/156.0 Safari/537.36 Edg/156.0", "Edge on Windows"),
        ("curl/8.0", "curl/8.0"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_are_called_as_people_call_them(agent: str, text: str) -> None:
    assert filters.browser_text(agent) == text


@pytest.fixture
def browser(app: Quart) -> Client:
    """Keeps nothing: each call brings its own cookie."""
    return app.test_client(use_cookies=False)


class Page(HTMLParser):
    """What a page leads to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.names: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # HTMLParser's own
        has = {name: value or "" for name, value in attrs}
        if has.get("rel") != "canonical":  # that one says where the page itself is, with its host
            self.links += [has[name] for name in ("href", "src") if name in has and not has[name].startswith("mailto:")]
        if "data-api" in has:
            self.calls.append((has.get("data-method", "POST"), has["data-api"]))
        if "id" in has:
            self.names.append(has["id"])


async def read(browser: Client, path: str, headers: dict[str, str]) -> Page:
    answer = await browser.get(path, headers=headers)
    assert answer.status_code in (200, 303), (path, answer.status_code)
    return Page(await answer.get_data(as_text=True) if answer.mimetype == "text/html" else "")


async def walk(browser: Client, headers: dict[str, str], *starts: str) -> dict[str, Page]:
    """Each page of this site that is reached from these, once; all must be there."""
    pages: dict[str, Page] = {}
    to_read = list(starts)
    while to_read:
        path = to_read.pop()
        if path in pages:
            continue
        pages[path] = await read(browser, path, headers)
        for link in pages[path].links:
            assert not urlsplit(link).netloc, f"{path} leads to another host: {link}"
            to_read.append(urldefrag(urljoin(path, link)).url)
    return pages


def dead_parts(app: Quart, pages: dict[str, Page]) -> list[str]:
    """Anchors that lead nowhere in their page, and forms whose call the API does not have."""
    routes = app.url_map.bind("localhost")
    dead = []
    for path, page in pages.items():
        for link in page.links:
            target, name = urldefrag(urljoin(path, link))
            if name and name not in pages[target].names:
                dead.append(f"{path}: {link}")
        dead += [f"{path}: {call}" for call in page.calls if not routes.test(call[1], method=call[0])]
        dead += [f"{path}: id {name} twice" for name in set(page.names) if page.names.count(name) > 1]
    return dead


async def test_a_visitor_finds_no_dead_link_and_no_dead_form(app: Quart, browser: Client) -> None:
    pages = await walk(browser, {}, "/", "/register", "/verify?email=ada@example.org", "/verify")

    assert {"/", "/register", "/sign-in", "/services/general-advisor"} <= pages.keys()
    assert dead_parts(app, pages) == []


async def test_who_is_signed_in_finds_none_either(app: Quart, browser: Client, rich_id: UUID) -> None:
    async with transaction() as session:
        consultation = await make_consultation(session, rich_id)
        await conversation.ask(session, account_id=rich_id, consultation_id=consultation, question="Why?")
    purchase, _ = await make_purchase(buyer=rich_id)

    pages = await walk(browser, await sign_in(rich_id), "/", "/credits", f"/credits/return?purchase={purchase.id}")

    assert {"/statement", "/account", "/consultations", f"/consultations/{consultation}"} <= pages.keys()
    assert dead_parts(app, pages) == []


@pytest.mark.parametrize("path", ["/consultations", "/credits", "/statement", "/account"])
async def test_who_is_not_signed_in_is_sent_there_and_back(browser: Client, path: str) -> None:
    answer = await browser.get(path)

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/sign-in?next={path}"


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/services/nothing", "/consultations/0198c8a0-0000-7000-8000-000000000000", "/statement?after=x",
     "/consultations?after=x", "/credits/return?purchase=x", "/assets/0/nothing.js"],
)  # fmt: skip
async def test_what_is_not_there_is_a_page_that_says_so(browser: Client, account_id: UUID, path: str) -> None:
    answer = await browser.get(path, headers=await sign_in(account_id))

    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "Not found" in await answer.get_data(as_text=True)


async def test_words_of_people_are_shown_as_words(browser: Client, rich_id: UUID) -> None:
    words = "<script>alert(1)</script> {{ 7 * 7 }} \"'><img src=x onerror=alert(1)>"
    async with transaction() as session:
        consultation = await make_consultation(session, rich_id)
        await conversation.ask(session, account_id=rich_id, consultation_id=consultation, question=words)
    headers = await sign_in(rich_id)

    for path in ("/consultations", f"/consultations/{consultation}"):
        html = await (await browser.get(path, headers=headers)).get_data(as_text=True)

        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "{{ 7 * 7 }}" in html


async def test_a_page_says_what_is_held(rich_id: UUID) -> None:
    async with transaction() as session:
        service: Any = catalogue.describe(await catalogue.offered(session, "general-advisor"))
        consultation = await make_consultation(session, rich_id)
        longest = "🐈" * service["max_question_chars"]
        for_the_longest = await conversation.ask(
            session, account_id=rich_id, consultation_id=consultation, question=longest
        )
        another = await make_consultation(session, rich_id)
        usual = await conversation.ask(
            session, account_id=rich_id, consultation_id=another, question="a" * USUAL_QUESTION
        )

    assert for_the_longest.hold_mc == service["max_answer_mc"]
    assert usual.hold_mc == pytest.approx(usual_most_mc(service), abs=1)  # it is rounded up once, the page twice
    assert usual.hold_mc <= usual_most_mc(service)
