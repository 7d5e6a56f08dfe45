"""The pages of the second step: giving it, setting it up, and what to do when it is lost."""

from urllib.parse import quote

from quart import Blueprint, g, redirect, request
from quart.typing import ResponseReturnValue

from core.accounts import sign_in
from core.accounts.attempts import AttemptOver
from core.accounts.factors import methods
from core.accounts.factors.webauthn_api import relying_party
from core.database import transaction
from web import factors
from web.pages import page
from web.pages.paths import local_path
from web.session import anyone, enrolling, must_enrol, signed_in
from web.sign_in import attempt

blueprint = Blueprint("factor_pages", __name__)


def _passkeys_at() -> str | None:
    """Where passkeys can be used, if not where this page was asked for: a sandbox that is reached by its number."""
    origin = relying_party()[1][0]
    return None if request.host == origin.split("//")[1] else origin


@blueprint.get("/sign-in/second-step")
@anyone
async def second_step() -> ResponseReturnValue:
    next_path = local_path(request.args.get("next"), otherwise="/consultations")
    try:
        asked = await sign_in.methods_of(attempt())
    except AttemptOver:
        return redirect(f"/sign-in?next={quote(next_path, safe='/')}", 303)
    facts = {"methods": asked, "next": next_path, "passkeys_at": _passkeys_at()}
    return await page("second_step.html", facts)


@blueprint.get("/security")
@signed_in
@enrolling
async def security() -> ResponseReturnValue:
    async with transaction() as session:
        shown = factors.shown(await methods.of_account(session, account_id=g.account.id))
    return await page("security.html", {**shown, "must_enrol": must_enrol(g.account), "passkeys_at": _passkeys_at()})


@blueprint.get("/lost-factor/stop")
@anyone
async def stop_lost_factor() -> ResponseReturnValue:
    """Only shows the button: what reads links in mails for safety's sake presses none."""
    asked = {"request_id": request.args.get("request", ""), "proof": request.args.get("proof", "")}
    return await page("lost_factor_stop.html", asked)
