"""Where the mail is that this browser waits for: by a cookie with its ticket, which everybody alike gets who asks."""

from uuid import UUID

from quart import Blueprint, jsonify
from quart.globals import request_ctx
from quart.typing import ResponseReturnValue

from core.accounts import waiting
from core.accounts.waiting import Waiting
from core.database import transaction
from core.errors import NotFound
from web.openapi import answers
from web.security import set_cookie, site
from web.session import anyone
from web.shapes import MailState

blueprint = Blueprint("waiting", __name__)


def _cookie() -> str:
    return f"{site().session_cookie}-mail"


def wait_for(mail: UUID) -> ResponseReturnValue:
    """The answer to who asked for a code, known or not."""
    response = jsonify({"state": "code_sent"})
    response.status_code = 202
    set_cookie(response, _cookie(), str(mail), max_age=int(waiting.LIFE.total_seconds()))
    return response


async def mail_state() -> Waiting | None:
    """Where it is; None for a browser that waits for none."""
    try:
        mail = UUID(request_ctx.request.cookies.get(_cookie(), ""))
    except ValueError:
        return None
    async with transaction() as session:
        return await waiting.state_of(session, mail)


@blueprint.get("/api/mail-state")
@anyone
@answers(MailState, problems=(404,))
async def show_mail_state() -> ResponseReturnValue:
    """Where the mail is that this browser asked for, whether or not its address is known."""
    found = await mail_state()
    if found is None:
        raise NotFound
    return {"state": found.state, "words": found.words}
