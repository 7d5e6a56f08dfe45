"""What a browser may do with us: our one host, where requests may come from, CSRF tokens, headers on every answer."""

import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from quart import Quart, Request, Response, current_app, g
from quart.globals import request_ctx
from werkzeug.datastructures import Headers

from core.errors import ClofyError, InvalidInput, Kind
from core.secrets import signatures
from core.settings import Edge, Environment, settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
YEAR = 365 * 24 * 3600


class UnknownHost(ClofyError):
    """This is not the address of this service."""

    kind = Kind.INVALID


class AroundTheEdge(ClofyError):
    """Requests come through our front door only."""

    kind = Kind.FORBIDDEN


class ForeignRequest(ClofyError):
    """This request did not come from a page of ours, or the page is too old; load it again."""

    kind = Kind.FORBIDDEN


@dataclass(frozen=True)
class Site:
    """What follows from CLOFY_PUBLIC_URL: names of cookies, the origin, and the headers of every answer."""

    origin: str
    host: str
    secure: bool
    session_cookie: str
    csrf_cookie: str
    loopback: bool  # a sandbox on this machine: its web processes are also reached by their own ports, and as localhost
    headers: tuple[tuple[str, str], ...]
    page_policy: str  # with {nonce}
    front_door_id: bytes = b""  # empty: there is none before us
    data_policy: str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def make_site() -> Site:
    origin = settings().public_url.lower()
    parts = urlsplit(origin)
    secure = parts.scheme == "https"
    prefix = "__Host-" if secure else ""  # browsers take the prefix over https only; http is the sandbox's
    headers = [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"),
    ]
    if secure:
        headers.append(("Strict-Transport-Security", f"max-age={YEAR}; includeSubDomains"))
    socket = f"{'wss' if secure else 'ws'}://{parts.netloc}"
    page_policy = (
        "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self'; img-src 'self' data:; "
        f"font-src 'self'; connect-src 'self' {socket}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'"
    )
    return Site(
        origin=origin,
        host=parts.netloc,
        loopback=settings().environment is Environment.SANDBOX and parts.hostname in LOOPBACK,
        secure=secure,
        session_cookie=f"{prefix}clofy",
        csrf_cookie=f"{prefix}clofy-csrf",
        headers=tuple(headers),
        page_policy=page_policy,
        front_door_id=settings().front_door_id.encode() if settings().edge is Edge.FRONT_DOOR else b"",
    )


def site() -> Site:
    made: Site = current_app.extensions["site"]
    return made


def check_target(site: Site, headers: Headers, path: str, query: bytes) -> None:
    """Refuse what came around the edge, a Host that is not ours (links and caches would follow it), and NUL, which
    PostgreSQL does not store.
    """
    if site.front_door_id:
        named = headers.getlist("X-Azure-FDID")
        if len(named) != 1 or not hmac.compare_digest(named[0].encode("utf-8", "surrogateescape"), site.front_door_id):
            raise AroundTheEdge
    host = headers.get("Host", "").lower()
    if host != site.host and not (site.loopback and _hostname(f"//{host}") in LOOPBACK):
        raise UnknownHost
    if "\0" in path:
        raise InvalidInput(field="path", rule="must not contain NUL")
    if b"%00" in query:
        raise InvalidInput(field="query", rule="must not contain NUL")


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def check_single_keys(request: Request) -> None:
    """Refuse a query that gives a key twice: two readers of it might take different ones (security.md 57)."""
    for key, values in request.args.lists():
        if len(values) > 1:
            raise InvalidInput(field=key, rule="must be given once")


def check_origin(site: Site, headers: Headers, *, required: bool = False, form: bool = False) -> None:
    """Refuse what a page of another site sends; browsers set both headers and pages cannot change them.

    form: sent by a page without a script; our Referrer-Policy has browsers say "null" then, and the token decides
    """
    origin = headers.get("Origin", "").lower()
    if headers.get("Sec-Fetch-Site") == "cross-site":
        raise ForeignRequest
    if not origin or (form and origin == "null"):
        if required:
            raise ForeignRequest
        return
    ours = f"http://{headers.get('Host', '').lower()}" if site.loopback else site.origin
    if origin not in (ours, site.origin):
        raise ForeignRequest


def check_csrf(site: Site, request: Request, token: str) -> None:
    """Raise ForeignRequest unless this is the token of this session, or of this visitor's cookie."""
    if g.account is not None:
        expected = g.account.csrf_tokens
    else:
        visitor = request.cookies.get(site.csrf_cookie, "")
        expected = _visitor_tokens(visitor) if visitor else ()
    given = token.encode("utf-8", "surrogateescape")
    if not any(hmac.compare_digest(one.encode(), given) for one in expected):
        raise ForeignRequest


def _visitor_tokens(visitor: str) -> tuple[str, ...]:
    """The one to give out, and those that were given out under an older key."""
    return tuple(one.hex() for one in signatures(b"csrf:visitor:" + visitor.encode("utf-8", "surrogateescape")))


def csrf_token() -> str:
    """The CSRF token for who is asking; a visitor without a cookie to bind it to gets one with this answer."""
    if g.get("account") is not None:
        token: str = g.account.csrf_token
        return token
    here = site()
    visitor = g.get("new_visitor") or request_ctx.request.cookies.get(here.csrf_cookie, "")
    if not visitor:
        visitor = g.new_visitor = secrets.token_urlsafe(16)
    return _visitor_tokens(visitor)[0]


def nonce() -> str:
    """The script nonce of this answer: 128 random bits, in the header and in the templates."""
    if "nonce" not in g:
        g.nonce = secrets.token_urlsafe(16)
    made: str = g.nonce
    return made


def set_cookie(response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
    """Set a cookie that scripts cannot read, for this host only."""
    response.set_cookie(name, value, max_age=max_age, path="/", secure=site().secure, httponly=True, samesite="Lax")


def drop_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=site().secure, httponly=True, samesite="Lax")


def install(app: Quart) -> None:
    """Put the headers on every answer, errors too."""
    here: Site = app.extensions["site"]

    async def secure_answer(response: Response) -> Response:
        headers = response.headers
        for name, value in here.headers:
            headers[name] = value
        if response.mimetype == "text/html":
            headers["Content-Security-Policy"] = here.page_policy.replace("{nonce}", nonce())
        elif "Content-Security-Policy" not in headers:
            headers["Content-Security-Policy"] = here.data_policy
        if response.status_code == 204:
            headers.pop("Content-Type", None)
        if "Cache-Control" not in headers:
            # Whatever has a person's words, a CSRF token or a nonce must not be kept by anybody between us.
            headers["Cache-Control"] = "no-store"
        if "new_visitor" in g:
            set_cookie(response, here.csrf_cookie, g.new_visitor)
        return response

    app.after_request(secure_answer)
