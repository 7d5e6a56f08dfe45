"""Whether pages are counted: not before a yes, not after a no, never against a signal; without a script."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from core.database import transaction
from core.privacy import consents
from core.privacy.consent_models import AnalyticsCount
from core.privacy.cookies import COOKIES
from tests.core.billing.kit import sign_in
from web.counting import came_from, family

PANEL = 'aria-label="Analytics"'
FIELD = re.compile(r'name="(csrf_token|via|next)" value="([^"]*)"')
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


async def load(browser: Client, path: str = "/", **headers: str) -> str:
    answer = await browser.get(path, headers=headers)
    assert answer.status_code == 200
    return await answer.get_data(as_text=True)


async def press(browser: Client, page: str, choice: str, **headers: str) -> int:
    """Send the form of the page as a browser without scripts does."""
    fields = dict(FIELD.findall(page))
    answer = await browser.post("/cookies/choice", form={**fields, "choice": choice}, headers=headers)
    return answer.status_code


def cookies(browser: Client) -> dict[str, str]:
    assert browser.cookie_jar is not None
    return {one.name: one.value or "" for one in browser.cookie_jar}


async def views(app: Quart, route: str = "/") -> int:
    """How often a page was counted today, what waits in this process among it."""
    await app.extensions["counting"].write()
    mine = (AnalyticsCount.day == datetime.now(UTC).date(), AnalyticsCount.route == route)
    async with transaction() as session:
        n = select(func.coalesce(func.sum(AnalyticsCount.n), 0)).where(*mine, AnalyticsCount.what == "view")
        return int(await session.scalar(n) or 0)


async def test_a_visitor_is_asked_and_counted_only_after_a_yes(app: Quart, client: Client) -> None:
    before = await views(app)
    page = await load(client)
    assert PANEL in page
    assert await views(app) == before

    assert await press(client, page, "yes") == 303
    assert cookies(client)["clofy-choice"] == f"y.1.{datetime.now(UTC):%Y%m%d}"
    assert PANEL not in await load(client)
    assert await views(app) == before + 1

    assert await press(client, await load(client, "/cookies"), "no") == 303
    assert PANEL not in await load(client)
    assert await views(app) == before + 1


async def test_a_no_is_kept_and_not_asked_again(app: Quart, client: Client) -> None:
    before = await views(app)

    assert await press(client, await load(client), "no") == 303

    assert PANEL not in await load(client)
    assert cookies(client)["clofy-choice"].startswith("n.")
    assert await views(app) == before


async def test_yes_and_no_weigh_the_same(client: Client) -> None:
    buttons = re.findall(r'<button class="([^"]*)" name="choice" value="(yes|no)">', await load(client))

    assert {value for _, value in buttons} == {"yes", "no"}
    assert len({looks for looks, _ in buttons}) == 1


async def test_a_choice_without_our_token_is_no_choice(client: Client) -> None:
    await load(client)

    forged = await client.post("/cookies/choice", form={"choice": "yes", "csrf_token": "0" * 64})
    elsewhere = await client.post(
        "/cookies/choice",
        form={"choice": "yes"},
        headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://x.example"},
    )

    assert (forged.status_code, elsewhere.status_code) == (403, 403)
    assert "clofy-choice" not in cookies(client)


async def test_a_form_comes_without_an_origin_as_our_referrer_policy_has_it_and_only_a_form(client: Client) -> None:
    page, null = await load(client), {"Origin": "null"}

    assert await press(client, page, "no", **null) == 303
    assert await press(client, page, "no", **null, **{"Sec-Fetch-Site": "cross-site"}) == 403
    token = dict(FIELD.findall(page))["csrf_token"]
    program = await client.post("/api/session", json={}, headers={**null, "X-CSRF-Token": token})
    assert program.status_code == 403


@pytest.mark.parametrize("fields", [{"choice": "maybe"}, {"choice": "yes", "via": "signal"}, {}])
async def test_only_yes_and_no_are_choices(client: Client, fields: dict[str, str]) -> None:
    token = dict(FIELD.findall(await load(client)))["csrf_token"]

    answer = await client.post("/cookies/choice", form={"csrf_token": token, **fields})

    assert answer.status_code == 400


async def test_the_way_back_is_a_path_of_ours(client: Client) -> None:
    token = dict(FIELD.findall(await load(client)))["csrf_token"]

    answer = await client.post("/cookies/choice", form={"csrf_token": token, "choice": "no", "next": "//evil.example"})

    assert answer.headers["Location"] == "/cookies"


async def test_a_visitors_signal_is_honoured_and_said_and_nobody_is_asked(app: Quart, client: Client) -> None:
    gpc, before = {"Sec-GPC": "1"}, await views(app)
    asked = await load(client)
    page = await load(client, **gpc)
    shown = await load(client, "/cookies", **gpc)

    assert PANEL not in page
    assert "Opt-out signal honoured" in shown
    assert 'name="choice"' not in shown
    assert await press(client, asked, "yes", **gpc) == 303
    assert cookies(client)["clofy-choice"].startswith("n.")
    assert await views(app) == before


async def test_do_not_track_is_a_no_for_the_browser(app: Quart, client: Client) -> None:
    before = await views(app)
    await press(client, await load(client), "yes")

    assert PANEL not in await load(client, DNT="1")
    assert await views(app) == before


async def test_an_account_has_its_choices_with_their_proof(app: Quart, account_id: UUID) -> None:
    client, headers = app.test_client(use_cookies=False), await sign_in(account_id)
    before = await views(app)

    assert (await client.put("/api/account/consents/analytics", headers=headers)).status_code == 204
    await load(client, **headers)
    assert await views(app) == before + 1
    assert (await client.delete("/api/account/consents/analytics", headers=headers)).status_code == 204
    await load(client, **headers)
    assert await views(app) == before + 1

    told = await (await client.get("/api/account/consents", headers=headers)).get_json()
    assert [(one["wanted"], one["via"], one["words"], one["gpc"]) for one in told["consents"]] == [
        (False, "account", 1, False),
        (True, "account", 1, False),
    ]
    assert (await client.put("/api/account/consents/marketing", headers=headers)).status_code == 404


async def test_the_signal_of_a_browser_speaks_for_its_account_in_others_too(app: Quart, account_id: UUID) -> None:
    client, headers = app.test_client(use_cookies=False), await sign_in(account_id)
    await client.put("/api/account/consents/analytics", headers=headers)

    await load(client, **headers, **{"Sec-GPC": "1"})
    before = await views(app)
    await load(client, **headers)

    assert await views(app) == before
    async with transaction() as session:
        kept = await consents.choice(session, account_id=account_id)
    assert kept is not None
    assert (kept.wanted, kept.via, kept.gpc) == (False, "signal", True)
    assert "Opt-out signal honoured" in await load(client, "/account/policies", **headers, **{"Sec-GPC": "1"})


async def test_what_is_counted_names_nobody(app: Quart, account_id: UUID) -> None:
    client, headers = app.test_client(use_cookies=False), await sign_in(account_id)
    await client.put("/api/account/consents/analytics", headers=headers)
    said = {"User-Agent": FIREFOX, "Referer": "https://Search.example/?q=my+name"}
    await load(client, "/services/general-advisor", **headers, **said)
    assert await views(app, "/services/<slug>") > 0

    async with transaction() as session:
        rows = (await session.execute(select(AnalyticsCount.route, AnalyticsCount.what))).all()

    assert ("*", "browser:Firefox") in rows
    assert ("*", "from:search.example") in rows
    text = repr(rows)
    for never in (str(account_id), "general-advisor", "my+name", "Linux", "145"):
        assert never not in text, never


async def test_pages_of_admins_and_of_the_blog_are_not_counted(app: Quart, client: Client) -> None:
    await press(client, await load(client), "yes")
    await load(client, "/blog")
    counting = app.extensions["counting"]

    assert not any(route.startswith(("/blog", "/admin")) for _, route, _ in counting.sums.waiting)
    blog = await client.get("/blog")
    assert "Set-Cookie" not in blog.headers
    assert blog.headers["Cache-Control"].startswith("public")
    assert PANEL not in await blog.get_data(as_text=True)


@pytest.mark.parametrize(
    ("referrer", "host"),
    [("", ""), ("http://127.0.0.1/x", ""), ("https://A.Example:8/p?q", "a.example"), ("http://[", "other"), ("x", "")],
)
async def test_where_somebody_came_from_is_a_host_and_no_more(app: Quart, referrer: str, host: str) -> None:
    async with app.test_request_context("/"):
        assert came_from(referrer) == host


def test_a_browser_is_counted_by_its_family() -> None:
    assert (family(FIREFOX), family("curl/8.0")) == ("Firefox", "other")


async def test_the_list_of_cookies_is_the_list_on_the_page(client: Client) -> None:
    page = await load(client, "/cookies")

    assert re.findall(r"<td><code>(clofy[a-z-]*)</code></td>", page) == [one.name for one in COOKIES]
