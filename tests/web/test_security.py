"""What a browser, and who pretends to be one, may do with us."""

from uuid import uuid4

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from werkzeug.datastructures import Headers

from core.settings import settings
from tests.house import House
from tests.web.browser import Browser, person, problem
from web import security
from web.session import Permission, permissions_of


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


def make_app() -> Quart:
    from web.app import create_app  # reads the settings that `house` has set

    return create_app()


def registration() -> dict[str, object]:
    return person(f"eve-{uuid4().hex[:12]}@example.com")


async def test_an_unsafe_call_needs_the_token_of_its_own_cookie(browser: Browser) -> None:
    assert isinstance(browser.client.app, Quart)
    other = Browser(browser.client.app.test_client())
    await other.open()

    without = await browser.client.post("/api/accounts", json=registration())
    with_anothers = await browser.client.post(
        "/api/accounts", json=registration(), headers={"X-CSRF-Token": other.token}
    )
    with_its_own = await browser.call("POST", "/api/accounts", registration())

    assert [without.status_code, with_anothers.status_code, with_its_own.status_code] == [403, 403, 202]


@pytest.mark.parametrize(
    "header",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://localhost"},
    ],
)
async def test_a_page_of_another_site_is_refused_even_with_a_token(browser: Browser, header: dict[str, str]) -> None:
    await browser.open()

    refused = await browser.client.post(
        "/api/accounts", json=registration(), headers={"X-CSRF-Token": browser.token, **header}
    )

    assert (await problem(refused))["code"] == "foreign-request"


async def test_our_own_origin_is_taken(browser: Browser) -> None:
    await browser.open()
    headers = {"X-CSRF-Token": browser.token, "Origin": settings().public_url, "Sec-Fetch-Site": "same-origin"}

    assert (await browser.client.post("/api/accounts", json=registration(), headers=headers)).status_code == 202


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost@evil.example", ""])
async def test_another_host_is_refused(client: Client, host: str) -> None:
    refused = await client.get("/api/session", headers={"Host": host})

    assert (await problem(refused))["code"] == "unknown-host"


def test_a_host_that_is_no_host_is_refused(house: House) -> None:
    with pytest.raises(security.UnknownHost):
        security.check_target(security.make_site(), Headers({"Host": "["}), "/", b"")


@pytest.mark.parametrize("path", ["/api/session", "/api/account", "/api/nowhere", "/nowhere", "/healthz", "/"])
async def test_every_answer_carries_the_headers(client: Client, path: str) -> None:
    response = await client.get(path)

    headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


async def test_each_page_has_a_nonce_of_its_own(client: Client) -> None:
    pages = [await client.get("/nowhere") for _ in range(2)]

    policies = [page.headers["Content-Security-Policy"] for page in pages]
    assert all(page.mimetype == "text/html" for page in pages)
    assert policies[0] != policies[1]
    for page, policy in zip(pages, policies, strict=True):
        nonce = policy.split("'nonce-")[1].split("'")[0]
        assert len(nonce) >= 22
        assert "unsafe" not in policy
        assert f'nonce="{nonce}"' in await page.get_data(as_text=True)


@pytest.fixture
def https_site(house: House, monkeypatch: pytest.MonkeyPatch) -> security.Site:
    secure = settings().model_copy(update={"public_url": "https://clofy.example"})
    monkeypatch.setattr(security, "settings", lambda: secure)
    return security.make_site()


async def test_over_https_cookies_are_bound_to_the_host_and_https_is_remembered(https_site: security.Site) -> None:
    client = make_app().test_client()

    response = await client.get("/api/session", headers={"Host": "clofy.example"})

    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-clofy-csrf=")
    assert all(part in cookie for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"))
    assert "Domain" not in cookie
    assert https_site.session_cookie == "__Host-clofy"
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"email": "a@example.com"}', "text/plain", 415),
        (b'{"email": "a@example.com"}', "application/x-www-form-urlencoded", 415),
        (b'{"email": "a@example.com"}', None, 415),
        (b"{", "application/json", 400),
        (b'{"email": NaN}', "application/json", 400),
        (b'{"email": "\\ud800"}', "application/json", 400),
        (b'{"email": "a\\u0000@example.com"}', "application/json", 400),
        (b'{"email": ' + b"[" * 21 + b"]" * 21 + b"}", "application/json", 400),
        (b'{"email": "\xff"}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"email": "' + b"a" * 70_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_is_json_and_small_and_flat(browser: Browser, body: bytes, kind: str | None, status: int) -> None:
    await browser.open()
    headers = {"X-CSRF-Token": browser.token} | ({"Content-Type": kind} if kind else {})

    refused = await browser.client.post("/api/accounts/verify/resend", data=body, headers=headers)

    assert refused.status_code == status
    assert refused.mimetype == "application/problem+json"


async def test_an_escaped_backslash_before_u0000_is_no_nul(browser: Browser) -> None:
    await browser.open()
    headers = {"X-CSRF-Token": browser.token, "Content-Type": "application/json"}

    refused = await browser.client.post("/api/accounts/verify/resend", data=b'{"email": "\\\\u0000"}', headers=headers)

    assert (await problem(refused))["errors"] == [{"field": "email", "rule": "must be an e-mail address"}]


@pytest.mark.parametrize("path", ["/api/session?a=1&a=2", "/api/session?a=%00", "/api/account%00"])
async def test_an_ambiguous_or_broken_address_is_refused(client: Client, path: str) -> None:
    assert (await client.get(path)).status_code in {400, 404}


async def test_methods_that_are_not_there_are_named(client: Client) -> None:
    refused = await client.put("/api/session")

    assert refused.status_code == 405
    assert set(refused.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "POST"}


async def test_pages_send_to_sign_in_and_come_back(client: Client) -> None:
    response = await client.get("/statement")

    assert response.status_code == 303
    assert response.headers["Location"] == "/sign-in?next=/statement"


@pytest.mark.parametrize(
    "header",
    [{"X-Forwarded-For": "10.0.0.1"}, {"X-Azure-FDID": "x"}, {"Forwarded": "for=10.0.0.1"}, {"Via": "1.1 edge"}],
)
async def test_metrics_are_not_there_for_who_comes_through_the_edge(client: Client, header: dict[str, str]) -> None:
    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get("/metrics", headers=header)).status_code == 404


async def test_a_route_without_a_word_on_who_may_call_it_stops_the_start(house: House) -> None:
    app = make_app()

    @app.get("/forgotten")
    async def forgotten() -> str:
        return ""

    with pytest.raises(RuntimeError, match="/forgotten"):
        permissions_of(app)


async def test_every_api_route_has_a_permission_and_only_webhooks_go_without_a_token(app: Quart) -> None:

    permissions = permissions_of(app)

    rules = {rule.rule: permissions[rule.endpoint] for rule in app.url_map.iter_rules()}
    signed = {"/webhooks/stripe", "/unsubscribe/<token>"}
    assert {rule for rule, word in rules.items() if word is Permission.WEBHOOK} == signed
    assert all(word is not Permission.OPEN for rule, word in rules.items() if rule.startswith("/api/"))


async def test_an_unexpected_error_tells_its_number_and_nothing_else(house: House) -> None:
    app = make_app()

    @app.get("/api/broken")
    async def broken() -> str:
        raise ValueError("the password is hunter2")

    response = await app.test_client().get("/api/broken")

    assert response.status_code == 500
    document = await problem(response)
    assert document["request_id"]
    assert "hunter2" not in await response.get_data(as_text=True)
