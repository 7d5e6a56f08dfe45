"""Passwords: how good one is, a new one for who has lost the old one, and another one."""

from pydantic import Field
from quart import Blueprint, Response, g
from quart.typing import ResponseReturnValue

from core import limits
from core.accounts import codes, passwords, reset, strength
from web.callers import browser, caller
from web.inputs import Input, takes
from web.known import make_known
from web.openapi import answers
from web.session import anyone, fresh
from web.shapes import CodeSent, PasswordStrength, SignedInFacts
from web.sign_in import Email, Password, own_token, signed_in_answer
from web.waiting import wait_for

blueprint = Blueprint("passwords", __name__)


class Proposal(Input):
    """A password that somebody thinks of, and what the form knows of them by then."""

    password: Password
    email: str = Field(default="", max_length=254)
    name: str = Field(default="", max_length=200)
    company: str = Field(default="", max_length=200)


class Forgotten(Input):
    email: Email


class NewPassword(Input):
    email: Email
    code: str = Field(pattern=codes.PATTERN)
    password: Password


class PasswordChange(Input):
    current: Password
    password: Password


@blueprint.post("/api/password-strength")
@anyone
@answers(PasswordStrength, problems=(429,))
@takes(Proposal)
async def measure(data: Proposal) -> ResponseReturnValue:
    """How hard a password is to guess, for the meter beside the field. Nothing is kept."""
    await limits.admit(limits.METER, account=None, ip=caller().ip)
    found = await passwords.assess(data.password, about=(data.email, data.name, data.company), line=strength.METER)
    return {"score": found.score, "rule": found.rule}


@blueprint.post("/api/password-reset")
@anyone
@answers(CodeSent, status=202, problems=(429,))
@takes(Forgotten)
async def ask_for_reset(data: Forgotten) -> ResponseReturnValue:
    """Ask for a code to set a new password. The answer is the same whether or not the address is known."""
    return wait_for(await reset.ask(email=data.email, browser=browser(), caller=caller()))


@blueprint.post("/api/password-reset/confirm")
@anyone
@answers(None, status=204, problems=(429,))
@takes(NewPassword)
async def confirm_reset(data: NewPassword) -> ResponseReturnValue:
    """Set a new password by the code that was mailed. It signs nobody in, and signs out everywhere."""
    await reset.confirm(email=data.email, code=data.code, password=data.password, caller=caller())
    response = Response("", 204)
    make_known(response, data.email)  # so that what strangers tried does not keep the owner from signing in with it
    return response


@blueprint.put("/api/account/password")
@fresh
@answers(SignedInFacts, problems=(429,))
@takes(PasswordChange)
async def change_password(data: PasswordChange) -> ResponseReturnValue:
    """Set another password. It signs out everywhere else; this session goes on under a fresh id."""
    rotated = await reset.change(
        account_id=g.account.id, current=data.current, password=data.password, token=own_token(), caller=caller()
    )
    return signed_in_answer(rotated)
