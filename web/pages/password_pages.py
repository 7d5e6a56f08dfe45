"""Pages of passwords and of the address: what is lost, another one; and what was done to the account."""

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.accounts.codes import is_long
from web import audit
from web.known import remember
from web.pages import page
from web.session import anyone, fresh, signed_in
from web.waiting import mail_state

blueprint = Blueprint("password_pages", __name__)
blueprint.after_request(remember)


@blueprint.get("/forgot")
@anyone
async def forgot() -> ResponseReturnValue:
    return await page("forgot.html", {"email": request.args.get("email", "")})


@blueprint.get("/reset")
@anyone
async def reset() -> ResponseReturnValue:
    """`?code=` only fills the field in: what reads links in mails for safety's sake must not use the code up."""
    code = request.args.get("code", "")
    facts = {"email": request.args.get("email", ""), "code": code, "is_long": is_long(code), "mail": await mail_state()}
    return await page("reset.html", facts)


@blueprint.get("/account/password")
@fresh
async def change() -> ResponseReturnValue:
    return await page("password.html")


@blueprint.get("/account/email")
@fresh
async def change_email() -> ResponseReturnValue:
    """`?code=` only fills the field in."""
    code = request.args.get("code", "")
    facts = {"email": request.args.get("email", ""), "code": code, "is_long": is_long(code), "mail": await mail_state()}
    return await page("email.html", facts)


@blueprint.get("/email-change/stop")
@anyone
async def stop_email_change() -> ResponseReturnValue:
    """Only shows the button: what reads links in mails for safety's sake presses none."""
    return await page("email_stop.html", {"link": request.args.get("link", "")})


@blueprint.get("/account/history")
@signed_in
async def history() -> ResponseReturnValue:
    return await page("history.html", await audit.shown(g.account.id, request.args.get("before", "")))
