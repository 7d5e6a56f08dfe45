"""The pages for people: each route asks `context` for what it shows and renders one template.

Who is not signed in is sent to /sign-in by web/errors.py, and back from there.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, Response, g, redirect, render_template, request
from quart.typing import ResponseReturnValue

from core.accounts.codes import is_long
from core.database import transaction
from core.errors import NotFound
from core.mail import queries
from core.privacy import engagements
from web.known import remember
from web.pages import admin_context, context, statement_context
from web.pages.assets import assets, static_url
from web.pages.filters import FILTERS
from web.pages.paths import local_path
from web.pages.prices import LIMITS
from web.session import admin_only, anyone, open_to_all, signed_in
from web.waiting import mail_state

YEAR = 365 * 24 * 3600  # seconds: the longest that caches honour (RFC 9111 has no more to say)

blueprint = Blueprint("pages", __name__, template_folder="templates")
blueprint.add_app_template_global(static_url)
blueprint.after_request(remember)
for name, write in FILTERS.items():
    blueprint.add_app_template_filter(write, name)


async def page(template: str, facts: Mapping[str, object] | None = None) -> str:
    return await render_template(template, **{**await context.common(), **(facts or {})})


@blueprint.get("/assets/<version>/<name>", endpoint="static")
@open_to_all
async def send_asset(version: str, name: str) -> ResponseReturnValue:
    """One of our files. Only under its own version may it be kept: during a roll two versions are asked for."""
    found = assets().files.get(name)
    if found is None:
        raise NotFound
    content, kind = found
    kept = f"public, max-age={YEAR}, immutable" if version == assets().version else "no-cache"
    return Response(content, content_type=kind, headers={"Cache-Control": kept})


@blueprint.get("/")
@anyone
async def home() -> ResponseReturnValue:
    return await page("home.html", await context.home())


@blueprint.get("/services/<slug>")
@anyone
async def service(slug: str) -> ResponseReturnValue:
    return await page("service.html", await context.service(slug))


@blueprint.get("/register")
@anyone
async def register() -> ResponseReturnValue:
    next_path = local_path(request.args.get("next"), otherwise="")
    agreed = await engagements.agreed_by_registering(now=datetime.now(UTC))
    facts = {"next": next_path, "agreed": {one.document.value: one for one in agreed}}
    return await page("register.html", {**facts, "policies": engagements.written(agreed)})


@blueprint.get("/verify")
@anyone
async def verify() -> ResponseReturnValue:
    """`?code=` only fills the field in: what reads links in mails for safety's sake must not use the code up."""
    next_path = local_path(request.args.get("next"), otherwise="")
    facts: dict[str, object] = {"email": request.args.get("email", ""), "code": request.args.get("code", "")}
    async with transaction() as session:
        late = await queries.going_out_late(session)
    facts |= {"next": next_path, "mails_late": late, "mail": await mail_state()}
    return await page("verify.html", {**facts, "is_long": is_long(str(facts["code"]))})


@blueprint.get("/sign-in")
@anyone
async def sign_in() -> ResponseReturnValue:
    next_path = local_path(request.args.get("next"), otherwise="/consultations")
    again = "again" in request.args and g.get("account") is not None
    if g.get("account") is not None and not again:
        return redirect(next_path, 303)
    facts = {
        "next": next_path,
        "verified": "verified" in request.args,
        "reset": "reset" in request.args,
        "again": again,
    }
    return await page("sign_in.html", facts)


@blueprint.get("/credits")
@signed_in
async def buy() -> ResponseReturnValue:
    next_path = local_path(request.args.get("next"), otherwise="")
    facts = await context.buying(account_id=g.account.id, currency=request.args.get("currency"))
    return await page("credits.html", {**facts, "next": next_path})


@blueprint.get("/credits/return")
@signed_in
async def bought() -> ResponseReturnValue:
    try:
        purchase_id = UUID(request.args.get("purchase", ""))
    except ValueError:
        raise NotFound from None
    return await page("credits_return.html", await context.purchase(purchase_id, account_id=g.account.id))


@blueprint.get("/credits/purchases")
@signed_in
async def purchases() -> ResponseReturnValue:
    facts = await context.purchases_page(account_id=g.account.id, after=request.args.get("after"))
    return await page("purchases.html", facts)


@blueprint.get("/credits/purchases/<uuid:purchase_id>")
@signed_in
async def purchase(purchase_id: UUID) -> ResponseReturnValue:
    return await page("purchase.html", await context.purchase(purchase_id, account_id=g.account.id))


@blueprint.get("/consultations")
@signed_in
async def consultations() -> ResponseReturnValue:
    facts = await context.consultations(account_id=g.account.id, after=request.args.get("after"))
    return await page("consultations.html", facts)


@blueprint.get("/consultations/<uuid:consultation_id>")
@signed_in
async def consultation(consultation_id: UUID) -> ResponseReturnValue:
    facts = await context.consultation(consultation_id, account_id=g.account.id)
    return await page("consultation.html", {**facts, "limits": LIMITS})


@blueprint.get("/statement")
@signed_in
async def statement() -> ResponseReturnValue:
    return await page("statement.html", await statement_context.statement(account_id=g.account.id))


@blueprint.get("/statement/months")
@signed_in
async def months() -> ResponseReturnValue:
    return await page("months.html", await statement_context.months(account_id=g.account.id))


@blueprint.get("/statement/months/<name>")
@signed_in
async def month(name: str) -> ResponseReturnValue:
    return await page("month.html", await statement_context.month(name, account_id=g.account.id))


@blueprint.get("/receipts")
@signed_in
async def receipts() -> ResponseReturnValue:
    return await page("receipts.html", await statement_context.receipts_page(account_id=g.account.id))


@blueprint.get("/account")
@signed_in
async def account() -> ResponseReturnValue:
    facts = await context.account(account_id=g.account.id, session_id=g.account.session_id)
    return await page("account.html", facts)


@blueprint.get("/admin")
@admin_only
async def admin() -> ResponseReturnValue:
    return await page("admin.html", await admin_context.search(request.args.get("email", "").strip()))


@blueprint.get("/admin/accounts/<uuid:account_id>")
@admin_only
async def admin_account(account_id: UUID) -> ResponseReturnValue:
    facts = await admin_context.account(account_id, after=request.args.get("after", ""))
    return await page("admin_account.html", facts)


@blueprint.get("/admin/books")
@admin_only
async def admin_books() -> ResponseReturnValue:
    return await page("admin_books.html", await admin_context.books())
