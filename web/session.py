"""Who may call a route, said beside each route by one word, and who is calling."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, TypeVar

from quart import Quart, g
from quart.globals import request_ctx, websocket_ctx
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.datastructures import Headers

from core.accounts.factors.models import Method
from core.accounts.models import Role
from core.accounts.web_sessions import SignedIn, find_session
from core.errors import ClofyError, Kind, NotFound
from core.settings import settings
from web import security
from web.callers import client_ip

MARK = "clofy_permission"
ENROLLING_MARK = "clofy_enrolling"
FORM_MARK = "clofy_form"
FRESH_FOR = timedelta(minutes=30)
FORWARDING_HEADERS = ("X-Azure-FDID", "X-Forwarded-For", "Forwarded", "Via")

F = TypeVar("F", bound=Callable[..., Any])


class NotSignedIn(ClofyError):
    """You need to sign in first."""

    kind = Kind.UNAUTHENTICATED


class SignInAgain(ClofyError):
    """Please sign in again: this needs to know that it is still you."""

    kind = Kind.FORBIDDEN
    sends_to = "/sign-in?again&next={path}"  # who reads pages


class SecondFactorNeeded(ClofyError):
    """Admins sign in with an authenticator app or a passkey. Who has none sets one up on the security page."""

    kind = Kind.FORBIDDEN
    sends_to = "/security"


class AccountCloses(ClofyError):
    """Your account is to be erased, so it can only be read, exported and kept. To do more, undo the erasure first."""

    kind = Kind.CONFLICT


class Permission(StrEnum):
    ANYONE = "anyone"
    SIGNED_IN = "signed_in"
    FRESH = "fresh"
    ADMIN = "admin"
    FRESH_ADMIN = "fresh_admin"
    INTERNAL = "internal"
    WEBHOOK = "webhook"
    OPEN = "open"


OPENS_TO_ADMINS = frozenset(
    {Method.TOTP, Method.PASSKEY}
)  # a mailbox is none, and a recovery code opens the way to one
FOR_ADMINS = frozenset({Permission.ADMIN, Permission.FRESH_ADMIN})
PROVEN = frozenset({Permission.FRESH, Permission.FRESH_ADMIN})
# What the owner of an account that is to be erased may do beside reading: leave, take along, get money back, undo.
WHILE_CLOSING = frozenset(
    {
        "accounts.end_others",
        "accounts.revoke_session",
        "billing.ask_for_refund",
        "consents.agree",
        "consents.withdraw",
        "erasure.undo",
        "factors.stop_lost",
        "jobs.stop",
        "live.make_ticket",
        "mails.turn_off",
        "notices.read_all",
        "notices.read_one",
        "policies.accept",
        "policies.decline",
        "privacy.ask",
        "privacy.confirm",
        "privacy.deny",
        "privacy.end_restriction",
        "privacy.withdraw",
        "sign_in.end_session",
        "teams.decline",
        "teams.remove",
        "teams.set_role",
        "teams.share",
        "teams.transfer",
    }
)
NEEDS_ACCOUNT = FOR_ADMINS | PROVEN | {Permission.SIGNED_IN}


def _mark(function: F, permission: Permission) -> F:
    setattr(function, MARK, permission)
    return function


def anyone(function: F) -> F:
    """For all; `g.account` is who is signed in, or None. Unsafe methods need the CSRF token."""
    return _mark(function, Permission.ANYONE)


def signed_in(function: F) -> F:
    """For those who are signed in; `g.account` is a SignedIn."""
    return _mark(function, Permission.SIGNED_IN)


def fresh(function: F) -> F:
    """For those who have proven within half an hour who they are: what changes how one signs in, or gives all away."""
    return _mark(function, Permission.FRESH)


def enrolling(function: F) -> F:
    """Also for admins who came without an app or a passkey, and are kept out of everything else."""
    setattr(function, ENROLLING_MARK, True)
    return function


def plain_form(function: F) -> F:
    """For a form that is sent without a script of ours: its CSRF token comes in the field `csrf_token`."""
    setattr(function, FORM_MARK, True)
    return function


def admin_only(function: F) -> F:
    """For admins; to others who are signed in it is not there."""
    return _mark(function, Permission.ADMIN)


def fresh_admin(function: F) -> F:
    """For admins who have proven within half an hour who they are: what gives or takes what is worth money, or writes
    to people in our name.
    """
    return _mark(function, Permission.FRESH_ADMIN)


def internal(function: F) -> F:
    """For callers inside our own network that come to this process directly; others are told that it is not there."""
    return _mark(function, Permission.INTERNAL)


def webhook(function: F) -> F:
    """For machines that prove themselves by a signature which the route checks: no session, no CSRF token."""
    return _mark(function, Permission.WEBHOOK)


def open_to_all(function: F) -> F:
    """For probes and files that are the same for all: nothing is asked, not even the database."""
    return _mark(function, Permission.OPEN)


def permissions_of(app: Quart) -> dict[str, Permission]:
    """The permission of each endpoint. Raises RuntimeError, which stops the start, if a route has none."""
    permissions = {}
    for rule in app.url_map.iter_rules():
        permission = getattr(app.view_functions[rule.endpoint], MARK, None)
        if rule.endpoint == "static" or rule.endpoint.endswith(".static"):
            permission = Permission.OPEN
        if permission is None:
            raise RuntimeError(f"{rule.endpoint} ({rule.rule}) does not say who may call it: see web/session.py")
        permissions[rule.endpoint] = permission
    return permissions


def _from_inside(headers: Headers) -> bool:
    """Whether the caller reached this process itself. What came through the edge or a proxy says so in a header."""
    if any(name in headers for name in FORWARDING_HEADERS):
        return False
    try:
        peer = ip_address(headers.get("Remote-Addr", ""))
    except ValueError:
        return headers.get("Remote-Addr") == "<local>"  # no network at all: a test, or a Unix socket
    return peer.is_loopback or peer.is_private


def must_enrol(account: SignedIn) -> bool:
    """Whether this is an admin who came without an app or a passkey: all but the security page is closed."""
    return account.role == Role.ADMIN and account.factor not in OPENS_TO_ADMINS


def require(permission: Permission, account: SignedIn | None, *, is_enrolling: bool = False) -> None:
    if permission not in NEEDS_ACCOUNT:
        return
    if account is None:
        raise NotSignedIn
    if permission in FOR_ADMINS and account.role != Role.ADMIN:
        raise NotFound
    if must_enrol(account) and not is_enrolling:
        raise SecondFactorNeeded
    if permission in PROVEN and datetime.now(UTC) - account.proven_at > FRESH_FOR:
        raise SignInAgain


def refuse_while_closing(account: SignedIn, endpoint: str) -> None:
    """Raise AccountCloses for what WHILE_CLOSING has not, if the account is to be erased."""
    if account.closing_at is not None and endpoint not in WHILE_CLOSING:
        raise AccountCloses(account=account.id, endpoint=endpoint)


class Guard:
    """Checks every request and every socket before its route, in one place."""

    def __init__(
        self,
        site: security.Site,
        permissions: dict[str, Permission],
        enrolling: frozenset[str],
        forms: frozenset[str],
    ) -> None:
        self.site, self.permissions, self.enrolling, self.forms = site, permissions, enrolling, forms

    async def check_request(self) -> None:
        request = request_ctx.request
        g.account, g.ip = None, client_ip(settings().edge, request.headers, request.remote_addr or "")
        permission = self.permissions.get(request.endpoint or "", Permission.OPEN)  # no endpoint: a 404 follows
        if permission is Permission.OPEN:
            return
        if permission is Permission.INTERNAL:
            if not _from_inside(request.headers):
                raise NotFound
            return
        security.check_target(self.site, request.headers, request.path, request.query_string)
        if permission is Permission.WEBHOOK:
            return
        if request.query_string:
            security.check_single_keys(request)
        await self._identify(request, permission)
        if request.method not in security.SAFE_METHODS:
            is_form = request.endpoint in self.forms
            security.check_origin(self.site, request.headers, form=is_form)
            token = request.headers.get("X-CSRF-Token", "")
            if is_form and not token:
                token = (await request.form).get("csrf_token", "")
            security.check_csrf(self.site, request, token)

    async def check_websocket(self) -> None:
        websocket = websocket_ctx.websocket
        g.account = None
        permission = self.permissions.get(websocket.endpoint or "", Permission.OPEN)
        if permission is Permission.OPEN:
            return
        security.check_target(self.site, websocket.headers, websocket.path, websocket.query_string)
        # Browsers send no CSRF token with a socket, and always send the Origin (RFC 6455, 10.2).
        security.check_origin(self.site, websocket.headers, required=True)
        await self._identify(websocket, permission)

    async def _identify(self, asked: BaseRequestWebsocket, permission: Permission) -> None:
        if (token := asked.cookies.get(self.site.session_cookie)) is not None:
            g.account = await find_session(token)
        require(permission, g.account, is_enrolling=asked.endpoint in self.enrolling)
        if permission in NEEDS_ACCOUNT and asked.method not in security.SAFE_METHODS:
            refuse_while_closing(g.account, asked.endpoint or "")


def install(app: Quart) -> None:
    """Guard all routes of the application; call it when all are there."""
    views = app.view_functions.items()
    enrolls = frozenset(endpoint for endpoint, view in views if getattr(view, ENROLLING_MARK, False))
    forms = frozenset(endpoint for endpoint, view in views if getattr(view, FORM_MARK, False))
    guard = Guard(app.extensions["site"], permissions_of(app), enrolls, forms)
    app.before_request(guard.check_request)
    app.before_websocket(guard.check_websocket)
