"""Signing in, step by step: the password, then what the account has beside it; or a passkey alone."""

from typing import Annotated, Any

from pydantic import StringConstraints
from quart import Blueprint, Response, g, jsonify
from quart.globals import request_ctx
from quart.typing import ResponseReturnValue

from core import audit
from core.accounts import attempts, sign_in, web_sessions
from core.accounts.factors.email_codes import Purpose
from core.accounts.factors.models import Method
from core.accounts.sign_in import Step, Visit
from core.audit import Action
from core.database import transaction
from web.callers import browser, caller
from web.inputs import Input, takes
from web.known import known_cookie
from web.openapi import answers
from web.security import csrf_token, drop_cookie, set_cookie, site
from web.session import anyone, enrolling, signed_in
from web.shapes import CodeSent, PasskeyOptions, SessionState, SignedInFacts

blueprint = Blueprint("sign_in", __name__)

Email = Annotated[str, StringConstraints(min_length=3, max_length=254)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Credentials(Input):
    email: Email
    password: Password


class SecondStep(Input):
    method: Annotated[str, StringConstraints(pattern="^(totp|recovery_code|email_code)$")]
    code: Code


class PasskeyAnswer(Input):
    credential: dict[str, Any]  # as PublicKeyCredential.toJSON() has it; core/accounts/factors/webauthn_api.py reads it


def _attempt_cookie() -> str:
    """Names a sign-in that waits for its second step; it opens nothing else."""
    return f"{site().session_cookie}-step"


def attempt() -> str | None:
    return request_ctx.request.cookies.get(_attempt_cookie())


def session_token() -> str | None:
    return request_ctx.request.cookies.get(site().session_cookie)


def own_token() -> str:
    """The token of the session that the guard has found."""
    token = session_token()
    assert token is not None
    return token


def _visit() -> Visit:
    return Visit(caller=caller(), browser=browser(), known=known_cookie(), replaces=session_token())


def signed_in_answer(token: str, **facts: Any) -> Response:
    """The answer that brings a session under a fresh id: its cookie, and the CSRF token that counts from now on."""
    csrf = web_sessions.csrf_token(web_sessions.token_hash(token))
    response = jsonify({"state": "signed_in", "methods": [], **facts, "csrf_token": csrf})
    set_cookie(response, site().session_cookie, token, max_age=int(web_sessions.ABSOLUTE_END.total_seconds()))
    if attempt() is not None:
        drop_cookie(response, _attempt_cookie())
    return response


@blueprint.post("/api/session")
@anyone
@answers(SignedInFacts, problems=(401, 429))
@takes(Credentials)
async def start_session(data: Credentials) -> ResponseReturnValue:
    """Sign in. `second_factor`: nobody is signed in yet, and one of `methods` is to follow within five minutes."""
    step = await sign_in.sign_in(
        email=data.email,
        password=data.password,
        visit=_visit(),
    )
    return _waiting(step) if step.methods else signed_in_answer(step.token)


def _waiting(step: Step) -> Response:
    response = jsonify({"state": "second_factor", "methods": step.methods, "csrf_token": csrf_token()})
    set_cookie(response, _attempt_cookie(), step.token, max_age=int(attempts.LIFE.total_seconds()))
    return response


@blueprint.post("/api/session/second-factor")
@anyone
@answers(SignedInFacts, problems=(401, 429))
@takes(SecondStep)
async def give_second_factor(data: SecondStep) -> ResponseReturnValue:
    """The second step by a code: of an authenticator app, of the recovery codes, or of a mail."""
    token = await sign_in.second_factor(
        attempt=attempt(),
        method=Method(data.method),
        code=data.code,
        visit=_visit(),
    )
    return signed_in_answer(token)


@blueprint.post("/api/session/second-factor/email")
@anyone
@answers(CodeSent, status=202, problems=(401, 429))
async def send_code() -> ResponseReturnValue:
    """Mail another code for this sign-in; the one before is void."""
    await sign_in.send_code(attempt(), purpose=Purpose.SIGN_IN)
    return {"state": "code_sent"}, 202


@blueprint.delete("/api/session/second-factor")
@anyone
@answers(None, status=204)
async def leave() -> ResponseReturnValue:
    """Give up a sign-in that waits for its second step."""
    response = Response("", 204)
    await end_attempt(response)
    return response


async def end_attempt(response: Response) -> None:
    token = attempt()
    if token is not None:
        async with transaction() as session:
            await attempts.end(session, token)
        drop_cookie(response, _attempt_cookie())


@blueprint.post("/api/session/passkey/options")
@anyone
@answers(PasskeyOptions, problems=(401, 429))
async def ask_for_passkey() -> ResponseReturnValue:
    """What a passkey is to sign: for the second step if one is waited for, else to sign in by it alone."""
    return {"options": await sign_in.ask_for_passkey(attempt=attempt(), browser=browser(), caller=caller())}


@blueprint.post("/api/session/passkey")
@anyone
@answers(SignedInFacts, problems=(401, 429))
@takes(PasskeyAnswer)
async def give_passkey(data: PasskeyAnswer) -> ResponseReturnValue:
    """What a passkey has signed."""
    token = await sign_in.by_passkey(
        credential=data.credential,
        attempt=attempt(),
        visit=_visit(),
    )
    return signed_in_answer(token)


@blueprint.get("/api/session")
@anyone
@answers(SessionState)
async def show_session() -> ResponseReturnValue:
    """Who is signed in, and the CSRF token to send as X-CSRF-Token with every unsafe call."""
    account = g.account
    return {
        "state": "anonymous" if account is None else "signed_in",
        "csrf_token": csrf_token(),
        "account": None
        if account is None
        else {"id": account.id, "email": account.email, "name": account.name, "role": account.role},
    }


@blueprint.delete("/api/session")
@signed_in
@enrolling
@answers(None, status=204)
async def end_session() -> ResponseReturnValue:
    """Sign out here; a sign-in that waits for its second step is given up too."""
    async with transaction() as session:
        await web_sessions.end_session(session, token=own_token())
        await audit.note(session, Action.SIGNED_OUT, account_id=g.account.id, caller=caller())
    response = signed_out()
    await end_attempt(response)
    return response


def signed_out() -> Response:
    response = Response("", 204)
    drop_cookie(response, site().session_cookie)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
