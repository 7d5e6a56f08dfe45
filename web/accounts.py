"""Accounts: registering, signing in and out, where one is signed in, and what one is called."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from quart import Blueprint, Response, g
from quart.globals import request_ctx
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts import codes, profile, registration, web_sessions
from core.accounts.models import Account
from core.accounts.registration import TooYoung
from core.accounts.web_sessions import Device
from core.audit import Action
from core.database import transaction
from core.errors import NotFound
from core.privacy import engagements
from web.callers import browser, caller
from web.inputs import Input, IsoDate, Line, takes
from web.openapi import answers
from web.security import set_cookie, site
from web.session import anyone, signed_in
from web.shapes import CodeSent, ProfileFacts, Sessions
from web.sign_in import Email, Password, own_token, signed_out
from web.waiting import wait_for

blueprint = Blueprint("accounts", __name__)

Name = Annotated[Line, StringConstraints(max_length=200)]


class NewAccount(Input):
    email: Email
    password: Password
    name: Name
    company: Name | None = None
    birth_date: IsoDate
    policies: Annotated[str, StringConstraints(max_length=100, pattern=engagements.PATTERN)] | None = Field(
        None, description="The versions that were shown, as privacy:1 terms:1; without it, those in force."
    )


class Verification(Input):
    email: Email
    code: str = Field(pattern=codes.PATTERN)


class Resend(Input):
    email: Email


class ProfileChange(Input):
    name: Name = Field(default="", validate_default=False)
    company: Name | None = None


def _age_cookie() -> str:
    return f"{site().session_cookie}-age"


def _check_not_refused() -> None:
    """Who was told to be too young does not go back for another birth date (FTC, COPPA FAQ)."""
    if _age_cookie() in request_ctx.request.cookies:
        raise TooYoung


@blueprint.post("/api/accounts")
@anyone
@answers(CodeSent, status=202, problems=(409, 429))
@takes(NewAccount)
async def register(data: NewAccount) -> ResponseReturnValue:
    """Register, and agree to the terms at /terms, having seen /privacy. The answer is the same whether or not the
    address is known; a mail says what follows.
    """
    _check_not_refused()
    now = datetime.now(UTC)
    agreed = await engagements.check_shown(data.policies, now=now)
    try:
        mail = await registration.register(
            email=data.email,
            password=data.password,
            name=data.name,
            company=data.company,
            birth_date=data.birth_date,
            policies=agreed,
            browser=browser(),
            today=now.date(),
            caller=caller(),
        )
    except TooYoung:
        g.refused_for_age = True
        raise
    return wait_for(mail)


@blueprint.after_request
async def remember_refusal(response: Response) -> Response:
    if "refused_for_age" in g:
        set_cookie(response, _age_cookie(), "1")  # until the browser is closed; it says nothing of the date
    return response


@blueprint.post("/api/accounts/verify")
@anyone
@answers(None, status=204, problems=(429,))
@takes(Verification)
async def verify(data: Verification) -> ResponseReturnValue:
    """Prove the address with the code that was mailed to it."""

    async def keep(session: AsyncSession, account_id: UUID, agreed: str | None) -> None:
        await engagements.registered(session, account_id=account_id, agreed=agreed, now=datetime.now(UTC))

    await registration.verify(email=data.email, code=data.code, browser=browser(), caller=caller(), agreed=keep)
    return "", 204


@blueprint.post("/api/accounts/verify/resend")
@anyone
@answers(CodeSent, status=202, problems=(429,))
@takes(Resend)
async def resend(data: Resend) -> ResponseReturnValue:
    """Ask for a new code, in the browser that registered. The answer is always the same."""
    return wait_for(await registration.resend_code(email=data.email, browser=browser(), caller=caller()))


@blueprint.get("/api/sessions")
@signed_in
@answers(Sessions)
async def list_sessions() -> ResponseReturnValue:
    """Where the account is signed in, the latest used first."""
    async with transaction() as session:
        rows = await web_sessions.list_sessions(session, account_id=g.account.id)
    return {"sessions": [device(row, g.account.session_id) for row in rows]}


def device(row: Device, current: UUID) -> dict[str, Any]:
    """A place where the account is signed in, as its owner sees it."""
    return {
        "id": row.id,
        "user_agent": row.user_agent,
        "ip": row.ip,
        "created_at": row.created_at,
        "seen_at": row.seen_at,
        "expires_at": row.expires_at,
        "current": row.id == current,
    }


@blueprint.delete("/api/sessions")
@signed_in
@answers(None, status=204)
async def end_others() -> ResponseReturnValue:
    """Sign out everywhere else."""
    async with transaction() as session:
        await web_sessions.end_other_sessions(session, account_id=g.account.id, token=own_token())
        await audit.note(session, Action.OTHER_SESSIONS_ENDED, account_id=g.account.id, caller=caller())
    return "", 204


@blueprint.delete("/api/sessions/<uuid:session_id>")
@signed_in
@answers(None, status=204)
async def revoke_session(session_id: UUID) -> ResponseReturnValue:
    """Sign out somewhere."""
    async with transaction() as session:
        if not await web_sessions.revoke_session(session, account_id=g.account.id, session_id=session_id):
            raise NotFound
        about = f"session:{session_id}"
        await audit.note(session, Action.SESSION_REVOKED, account_id=g.account.id, caller=caller(), about=about)
    return signed_out() if session_id == g.account.session_id else ("", 204)


def _shown(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "company": account.company,
        "role": account.role,
        "created_at": account.created_at,
    }


@blueprint.get("/api/account")
@signed_in
@answers(ProfileFacts)
async def show_account() -> ResponseReturnValue:
    """What we know about the person."""
    async with transaction() as session:
        return _shown(await profile.get_account(session, account_id=g.account.id))


@blueprint.patch("/api/account")
@signed_in
@answers(ProfileFacts)
@takes(ProfileChange)
async def change_account(data: ProfileChange) -> ResponseReturnValue:
    """Change name or company."""
    async with transaction() as session:
        changes = data.model_dump(exclude_unset=True)
        account = await profile.change_account(session, account_id=g.account.id, changes=changes)
        facts = {"fields": sorted(changes)}  # not from what to what: the log outlives the account
        await audit.note(session, Action.PROFILE_CHANGED, account_id=account.id, caller=caller(), facts=facts)
        return _shown(account)
