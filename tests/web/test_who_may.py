"""Bar 1: every route and socket message, by every role, on what is one's own and what is another's; no cell left out.

What is expected follows from the word beside the route (web/session.py) and from the tables below: a new route with an
id in its path, or a new message, fails here until it says whose things it is about.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import getsource
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from quart import Quart
from sqlalchemy import func, select, update
from werkzeug.routing import Rule

from core.accounts import attempts
from core.accounts.factors.models import Passkey
from core.accounts.models import Account, Role, WebSession
from core.accounts.web_sessions import csrf_token, find_session, start_session, token_hash
from core.blog import readers
from core.consultations import conversation
from core.consultations.models import Message
from core.credits import ledger
from core.database import transaction
from core.jobs import cancel, enqueue
from core.media import uploads
from core.notices import inbox
from core.notices.models import Notice
from core.privacy import requests
from core.privacy.request_models import RequestKind, Via
from core.queue import TaskName
from tests.core.billing.kit import make_buyer
from tests.core.billing.test_receipts import issue, make_sold
from tests.core.blog.kit import make_editor, make_post, source
from tests.core.teams.kit import things_of_teams
from tests.makers import make_consultation
from web.live import POLICY, Socket
from web.session import ENROLLING_MARK, FOR_ADMINS, NEEDS_ACCOUNT, PROVEN, Permission, permissions_of

NOBODY, WAITING, USER, STALE, ADMIN, ENROLLING = "nobody", "waiting", "user", "stale", "admin", "enrolling"
ROLES = (NOBODY, WAITING, USER, STALE, ADMIN, ENROLLING)
ROLE_OF = {ADMIN: Role.ADMIN, ENROLLING: Role.ADMIN}
OWN, ANOTHERS = "own", "another's"
PROBLEMS_OF_WHO = {"not-signed-in", "sign-in-again", "second-factor-needed", "foreign-request"}

# What a path's parameter names, and whether others' are not there. The rest is the same for all.
OWNED = {
    "consultation_id",
    "job_id",
    "message_id",
    "purchase_id",
    "passkey_id",
    "session_id",
    "number",
    "upload_id",
    "notice_id",
    "comment_id",
    "export_id",
    "team_id",
    "member_id",  # of the team
    "shared_id",  # what that member shows
    "sent_id",  # an invitation to the team
    "invitation_id",  # one to oneself
    "request_id",
}
OF_TEAMS = {"team_id", "invitation_id"}
OF_ALL = {"slug", "version", "name", "block", "author", "tag", "topic", "token", "post_id"} | {
    "document",
    "edition",
    "purpose",
}
OF_ADMINS = {"hold_id", "account_id", "media_id", "revision_id", "announcement_id", "mail_id"}  # in their routes alone
BODIES: dict[str, dict[str, Any]] = {  # what gets behind the check of the fields, where it comes before the look
    "consultations.ask": {"text": "Why?"},
    "factors.rename_passkey": {"name": "my phone"},
    "teams.rename": {"name": "Support"},
    "teams.invite": {"email": "guest@people.example"},
    "teams.accept": {"sees": "usage"},
    "teams.share": {"sees": "content"},
    "teams.set_role": {"role": "owner"},
    "admin.adjust": {"amount_mc": 1000, "reason": "a test of who may do it"},
}
# Who is let in finds nothing there in this test, for another reason than who they are.
NOTHING_THERE = {
    "factors.stop_lost": "no removal was asked for",
    "pages.static": "no such file",
    "media.read": "no such file",
    "exports.link": "no copy was made",
    "pages.bought": "no purchase is named",
    "pages.month": "nothing was done in that month",
    "admin_privacy.lift_hold": "no such hold",
    "admin_mail.resend": "no such mail",
    "admin_mail.stop": "no such announcement",
    "admin_mail.go_on": "no such announcement",
    "blog_desk.show_revision": "no such revision",
    "blog_pages.of_tag": "no post has that tag",
    "blog_pages.of_author": "nobody of that name has written",
    "notice_pages.ask_unsubscribe": "no such link",
    "erasure.undo": "nothing was asked for",
    "erasure.download": "no such link",
    "erasure_pages.proof": "no such link",
    "notice_pages.unsubscribe": "no such link",
    "waiting.show_mail_state": "no mail is waited for",
}
NEEDS_ATTEMPT = "factor_pages.second_step"  # who has none is sent to sign in


@dataclass
class Somebody:
    """An account with one of each thing."""

    account_id: UUID
    things: dict[str, str]


_slugs: list[str] = []


async def _slug() -> str:
    """Of a post to speak about; the same for all."""
    if not _slugs:
        slug = f"who-may-{uuid4().hex}"
        await make_post(source(slug=slug), await make_editor())
        _slugs.append(slug)
    return _slugs[0]


async def make_somebody(role: str, *, teams: bool = True) -> Somebody:
    owner = await make_buyer()
    of_teams = await things_of_teams(owner) if teams else {}
    purchase = await make_sold(buyer=owner)
    number = await issue(purchase)
    async with transaction() as session:
        await ledger.grant(
            session, account_id=owner, amount_mc=1_650_000, source=f"purchase:{purchase}", kind="purchase"
        )
        consultation = await make_consultation(session, owner)
        asked = await conversation.ask(session, account_id=owner, consultation_id=consultation, question="Why?")
        await cancel(session, asked.job, account_id=owner)
        message = await session.scalar(select(Message.id).where(Message.consultation_id == consultation).limit(1))
        passkey = Passkey(
            account_id=owner,
            credential_id=uuid4().bytes,
            public_key=b"",
            sign_count=0,
            aaguid="",
            transports=[],
            backup_eligible=False,
            backed_up=False,
            name="phone",
        )
        session.add(passkey)
        await inbox.tell(session, key=f"test:{owner}", account_id=owner, kind="low_balance", facts={"credits": "1"})
        notice = await session.scalar(select(Notice.id).where(Notice.account_id == owner))
        remark = await readers.comment(session, await _slug(), account_id=owner, source="Well said.")
        asked_for = await requests.file(
            session, account_id=owner, kind=RequestKind.CORRECTION, via=Via.ACCOUNT, now=datetime.now(UTC)
        )
        media = await uploads.begin(session, account_id=owner, name="a.png", size=10)
        await session.execute(update(Account).where(Account.id == owner).values(role=ROLE_OF.get(role, Role.USER)))
        token = await start_session(session, account_id=owner, user_agent="", ip="", factor="totp")
        row = await session.scalar(select(WebSession.id).where(WebSession.token_hash == token_hash(token)))
    things = {
        "consultation_id": consultation,
        "job_id": asked.job,
        "message_id": message,
        "purchase_id": purchase,
        "passkey_id": passkey.id,
        "session_id": row,
        "number": f"CC-{number:06}",
        "account_id": owner,
        "upload_id": media.id,
        "media_id": media.id,
        "block": 0,
        "slug": "general-advisor",
        "version": "0",
        "name": "2026-01",
        "notice_id": notice,
        "comment_id": remark.id,
        "export_id": uuid4(),
        "request_id": asked_for.id,
        "post_id": remark.post_id,
        **{one: uuid4() for one in ("revision_id", "announcement_id", "mail_id", "hold_id")},
        "author": "nobody",
        "tag": "nothing",
        "topic": "announcements",
        "token": "none",
        **of_teams,
        "document": "terms",
        "edition": 1,
        "purpose": "analytics",
    }
    return Somebody(owner, {name: str(value) for name, value in things.items()})


async def headers_of(app: Quart, role: str, somebody: Somebody) -> dict[str, str]:
    """A fresh browser of this role, with the CSRF token that goes with it."""
    site = app.extensions["site"]
    if role in (NOBODY, WAITING):
        client = app.test_client()
        told = await (await client.get("/api/session")).get_json()
        assert client.cookie_jar is not None
        cookies = [f"{one.name}={one.value}" for one in client.cookie_jar]
        if role == WAITING:
            async with transaction() as session:
                account = (await session.scalars(select(Account).where(Account.id == somebody.account_id))).one()
                token = await attempts.begin(session, account=account)
            cookies.append(f"{site.session_cookie}-step={token}")
        return {"Cookie": "; ".join(cookies), "X-CSRF-Token": told["csrf_token"]}
    async with transaction() as session:
        factor = None if role == ENROLLING else "totp"
        token = await start_session(session, account_id=somebody.account_id, user_agent="", ip="", factor=factor)
        if role == STALE:
            mine = update(WebSession).where(WebSession.token_hash == token_hash(token))
            await session.execute(mine.values(proven_at=func.now() - timedelta(hours=1)))
    return {"Cookie": f"{site.session_cookie}={token}", "X-CSRF-Token": csrf_token(token_hash(token))}


def expected(permission: Permission, role: str, *, enrolling: bool, owned: bool, whose: str) -> str:
    """What may come: the code of the problem that says who may, "not-found", or "let in"."""
    if permission is Permission.WEBHOOK:
        return "let in"  # by its signature: tests/web/test_billing.py
    if permission in NEEDS_ACCOUNT:
        if role in (NOBODY, WAITING):
            return "not-signed-in"
        if permission in FOR_ADMINS and role in (USER, STALE):
            return "not-found"
        if role == ENROLLING and not enrolling:
            return "second-factor-needed"
        if permission in PROVEN and role == STALE:
            return "sign-in-again"
    return "not-found" if owned and whose == ANOTHERS else "let in"


def cells(app: Quart) -> list[tuple[Rule, str]]:
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


async def said(app: Quart, rule: Rule, method: str, things: dict[str, str], headers: dict[str, str]) -> str:
    """What a call is told, as `expected` has it."""
    if rule.endpoint.startswith("blog"):
        things = things | {"slug": await _slug()}
    path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: things[found[1]], rule.rule)
    body = BODIES.get(rule.endpoint, {}) if method in ("POST", "PUT", "PATCH") else None
    response = await app.test_client(use_cookies=False).open(path, method=method, headers=headers, json=body)
    text = (await response.get_data(as_text=False)).decode(errors="replace")
    assert response.status_code < 500, f"{method} {path}: {text}"
    if response.status_code == 303:
        there = response.headers["Location"]
        sent = {
            "/sign-in?next=": "not-signed-in",
            "/sign-in?again": "sign-in-again",
            "/security": "second-factor-needed",
        }
        return next((told for where, told in sent.items() if there.startswith(where)), "let in")
    if response.status_code == 404:
        return "not-found"
    if response.status_code in (401, 403):
        return next((one for one in PROBLEMS_OF_WHO if one in text), "let in")
    return "let in"


@pytest.mark.timeout(900)  # some thousands of calls
async def test_every_route_by_every_role_on_ones_own_and_anothers(app: Quart) -> None:
    permissions = permissions_of(app)
    people = {role: await make_somebody(role) for role in ROLES}
    other = await make_somebody(USER)
    wrong, run = [], 0
    for rule, method in cells(app):
        unknown = set(rule.arguments) - OWNED - OF_ALL - OF_ADMINS
        assert not unknown, f"{rule.rule}: is {unknown} somebody's, or everybody's?"
        owned = bool(OWNED & set(rule.arguments)) and permissions[rule.endpoint] not in FOR_ADMINS
        enrolling = getattr(app.view_functions[rule.endpoint], ENROLLING_MARK, False)
        for role in ROLES:
            for whose in (OWN, ANOTHERS) if owned else (OWN,):
                with_team = bool(OF_TEAMS & set(rule.arguments))
                somebody = await make_somebody(role, teams=with_team) if owned and whose == OWN else people[role]
                things = somebody.things if whose == OWN else other.things
                told = await said(app, rule, method, things, await headers_of(app, role, somebody))
                wanted = expected(permissions[rule.endpoint], role, enrolling=enrolling, owned=owned, whose=whose)
                if wanted == "let in" and rule.endpoint in NOTHING_THERE:
                    wanted = "not-found"
                if rule.endpoint == NEEDS_ATTEMPT and role != WAITING:
                    wanted = "not-signed-in"
                run += 1
                if told != wanted:
                    wrong.append(f"{method} {rule.rule} as {role} on {whose}: {told}, not {wanted}")

    assert not wrong, "\n" + "\n".join(wrong)
    assert run > 500


MESSAGES = {  # what a socket answers, by whose job it is about
    ("watch", OWN): ["queued"],
    ("watch", ANOTHERS): ["refused"],
    ("unwatch", OWN): [],
    ("unwatch", ANOTHERS): [],
}


def test_every_message_of_a_socket_is_here() -> None:
    known = set(re.findall(r'case \{"(\w+)"', getsource(Socket._obey)))

    assert {(message, whose) for message in known for whose in (OWN, ANOTHERS)} == set(MESSAGES)


@pytest.mark.parametrize(("message", "whose"), MESSAGES)
@pytest.mark.parametrize("role", [USER, STALE, ADMIN])
async def test_every_message_by_every_role_on_ones_own_and_anothers(
    app: Quart, role: str, message: str, whose: str
) -> None:
    somebody = await make_somebody(role)
    owner = somebody if whose == OWN else await make_somebody(USER)
    async with transaction() as session:
        job = await enqueue(session, TaskName.EXPIRE_HOLDS, payload={}, account_id=owner.account_id)
    token = (await headers_of(app, role, somebody))["Cookie"].partition("=")[2]
    account = await find_session(token)
    assert account is not None
    socket = Socket(None, None, token, account)

    await socket._obey({message: str(job)})

    assert [orjson.loads(frame)["type"] for frame in socket.outbox] == MESSAGES[message, whose]


@pytest.mark.parametrize("role", ROLES)
async def test_a_socket_is_opened_for_who_is_signed_in_and_a_ticket_given_to_who_may_use_it(
    app: Quart, role: str
) -> None:
    headers = await headers_of(app, role, await make_somebody(role))
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(received)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    site = app.extensions["site"]
    pairs = {"Host": site.host, "Origin": site.origin, "Cookie": headers["Cookie"]}
    scope = {
        "type": "websocket",
        "path": "/live",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
    }
    await app.asgi_app(scope, receive, send)  # type: ignore[arg-type]
    ticket = await app.test_client(use_cookies=False).post("/api/live-ticket", headers=headers)

    outside = role in (NOBODY, WAITING)
    assert sent[0] == ({"type": "websocket.close", "code": POLICY} if outside else {"type": "websocket.accept"})
    assert ticket.status_code == (401 if outside else 403 if role == ENROLLING else 200)
