"""Pages of passwords: one that is lost, another one; and what was done to the account."""

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.accounts.codes import is_long
from web import audit
from web.known import remember
from web.pages import page
from web.session import anyone, fresh, signed_in

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
    return await page("reset.html", {"email": request.args.get("email", ""), "code": code, "is_long": is_long(code)})


@blueprint.get("/account/password")
@fresh
async def change() -> ResponseReturnValue:
    return await page("password.html")


@blueprint.get("/account/history")
@signed_in
async def history() -> ResponseReturnValue:
    return await page("history.html", await audit.shown(g.account.id, request.args.get("before", "")))
