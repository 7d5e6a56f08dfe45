"""Another e-mail address for one's account, and the way back for who has the old one."""

from pydantic import Field
from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.accounts import codes, new_address
from web.callers import browser, caller
from web.inputs import Input, takes
from web.openapi import answers
from web.session import anyone, fresh
from web.shapes import CodeSent, SignedInFacts
from web.sign_in import Email, own_token, signed_in_answer
from web.waiting import wait_for

blueprint = Blueprint("addresses", __name__)


class NewAddress(Input):
    email: Email


class ProvenAddress(Input):
    email: Email
    code: str = Field(pattern=codes.PATTERN)


class Stop(Input):
    link: str = Field(max_length=1000)


@blueprint.post("/api/account/email")
@fresh
@answers(CodeSent, status=202, problems=(429,))
@takes(NewAddress)
async def ask(data: NewAddress) -> ResponseReturnValue:
    """Ask for another address: it gets a code, and the one of now a word with a way to stop it."""
    return wait_for(
        await new_address.ask(account_id=g.account.id, email=data.email, browser=browser(), caller=caller())
    )


@blueprint.post("/api/account/email/confirm")
@fresh
@answers(SignedInFacts, problems=(409, 429))
@takes(ProvenAddress)
async def confirm(data: ProvenAddress) -> ResponseReturnValue:
    """Take it by that code. It signs out everywhere else; this session goes on under a fresh id."""
    rotated = await new_address.confirm(
        account_id=g.account.id, email=data.email, code=data.code, token=own_token(), caller=caller()
    )
    return signed_in_answer(rotated)


@blueprint.post("/api/email-change/stop")
@anyone
@answers(None, status=204, problems=(404, 409))
@takes(Stop)
async def stop(data: Stop) -> ResponseReturnValue:
    """By what the mail to the old address carries: it has the account again, and everybody is signed out."""
    await new_address.stop(link=data.link, caller=caller())
    return "", 204
