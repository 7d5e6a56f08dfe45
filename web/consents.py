"""Whether this browser and this account may be counted: asked, kept, withdrawn, and proven."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, g, redirect
from quart.globals import request_ctx
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.errors import InvalidInput, NotFound
from core.privacy import consents
from core.privacy.consent_models import Purpose, Via
from core.privacy.consents import Choice, Standing
from core.privacy.cookies import ASK_AGAIN
from web.openapi import answers
from web.pages.paths import local_path
from web.policy_shapes import Consents
from web.security import set_cookie, site
from web.session import anyone, plain_form, signed_in

blueprint = Blueprint("consents", __name__)


def _cookie() -> str:
    return f"{site().session_cookie}-choice"


def gpc() -> bool:
    """Whether the browser sends the opt-out signal (W3C, Global Privacy Control, 3.1)."""
    return request_ctx.request.headers.get("Sec-GPC") == "1"


async def kept(session: AsyncSession, account_id: UUID) -> Choice | None:
    """What the account chose; a browser of its that sends the signal speaks for it."""
    if gpc():
        await consents.honour_signal(session, account_id=account_id, now=datetime.now(UTC))
    return consents.plain(await consents.choice(session, account_id=account_id))


def standing(account: Choice | None = None) -> Standing:
    """How it stands with who asks. account: what they chose, if they are signed in."""
    request = request_ctx.request
    return consents.standing(
        browser=consents.read(request.cookies.get(_cookie())),
        account=account,
        gpc=gpc(),
        dnt=request.headers.get("DNT") == "1",
        today=datetime.now(UTC).date(),
    )


async def _keep(*, wanted: bool, via: Via) -> None:
    if g.account is not None:
        async with transaction() as session:
            now = datetime.now(UTC)
            await consents.choose(session, account_id=g.account.id, wanted=wanted, via=via, gpc=gpc(), now=now)


def _tell_browser(response: Response, *, wanted: bool) -> None:
    choice = Choice(wanted, consents.WORDS_VERSION, datetime.now(UTC).date())
    set_cookie(response, _cookie(), consents.written(choice), max_age=int(ASK_AGAIN.total_seconds()))


@blueprint.post("/cookies/choice")
@anyone
@plain_form
async def choose() -> ResponseReturnValue:
    """The panel and the switch of the cookies page; they work without a script. With the signal, a yes stays a no."""
    form = await request_ctx.request.form
    said, via = form.get("choice", ""), form.get("via", Via.COOKIES)
    if said not in ("yes", "no"):
        raise InvalidInput(field="choice", rule="must be yes or no")
    if via not in (Via.PANEL, Via.COOKIES):
        raise InvalidInput(field="via", rule="must be panel or cookies")
    wanted = said == "yes" and not gpc()
    await _keep(wanted=wanted, via=Via(via))
    response = redirect(local_path(form.get("next"), otherwise="/cookies"), 303)
    assert isinstance(response, Response)
    _tell_browser(response, wanted=wanted)
    return response


@blueprint.get("/api/account/consents")
@signed_in
@answers(Consents)
async def index() -> ResponseReturnValue:
    """One's choices, with what was asked, when and where; and what follows from them in this browser."""
    return await of_account(g.account.id)


async def of_account(account_id: UUID) -> dict[str, Any]:
    async with transaction() as session:
        now_is = standing(await kept(session, account_id))
        rows = await consents.of_account(session, account_id=account_id)
    made = [{name: getattr(one, name) for name in ("purpose", "wanted", "words", "via", "gpc", "at")} for one in rows]
    return {"wanted": now_is.wanted, "signal": now_is.signal, "consents": made}


@blueprint.put("/api/account/consents/<purpose>")
@signed_in
@answers(None, status=204)
async def agree(purpose: str) -> ResponseReturnValue:
    """Agree to a purpose. From a browser that sends Global Privacy Control it is kept as a no."""
    return await _choose(purpose, wanted=not gpc())


@blueprint.delete("/api/account/consents/<purpose>")
@signed_in
@answers(None, status=204)
async def withdraw(purpose: str) -> ResponseReturnValue:
    """Refuse a purpose, or withdraw a yes."""
    return await _choose(purpose, wanted=False)


async def _choose(purpose: str, *, wanted: bool) -> ResponseReturnValue:
    if purpose not in {*Purpose}:
        raise NotFound(purpose=purpose)
    await _keep(wanted=wanted, via=Via.ACCOUNT)
    return "", 204
