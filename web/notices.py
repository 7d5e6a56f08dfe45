"""The inbox on our pages: the same occasions as the mails, in a line each."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.database import transaction
from core.notices import inbox
from core.notices.models import Notice
from web.inputs import last_id
from web.notice_shapes import Notices
from web.openapi import AFTER_ID, answers, query
from web.session import signed_in

blueprint = Blueprint("notices", __name__, url_prefix="/api/notices")

Facts = dict[str, Any]
Said = tuple[str, str, str | None]  # title, text, where it leads


def _of_purchase(title: str, text: str) -> Callable[[Facts], Said]:
    return lambda facts: (title, text.format(**facts), f"/credits/purchases/{facts['purchase_id']}")


WORDS: dict[str, Callable[[Facts], Said]] = {
    "receipt": _of_purchase("Credits bought", "{credits} credits for {amount}. The receipt is among your receipts."),
    "refund_sent": _of_purchase("Refund on its way", "{amount} for {bundle_name} go back to how you paid."),
    "refund_failed": _of_purchase("Refund did not go through", "{amount} for {bundle_name} could not be paid back."),
    "policy_change": lambda facts: (
        f"{facts['document']}: a {'change that matters' if facts['weight'] == 'material' else 'small change'}",
        f"From {facts['effective']}: {facts['summary']}",
        facts["path"],
    ),
    "payment_failed": _of_purchase("Payment did not go through", "{amount} for {bundle_name}. Nothing was charged."),
    "dispute_opened": _of_purchase("Your bank questions a payment", "{amount} for {bundle_name}."),
    "security_change": lambda facts: ("How you sign in has changed", facts["what"], "/security"),
    "new_browser": lambda facts: (
        "Signed in in a new browser",
        " · ".join(facts[name] for name in ("user_agent", "ip") if facts.get(name)),
        "/account/history",
    ),
    "lost_factor_asked": lambda facts: (
        "Your second factor is to be removed",
        f"On {facts['due']}, as somebody with your password asked. The link in our mail stops it.",
        "/account/history",
    ),
    "already_registered": lambda _: (
        "Somebody tried to register your address",
        "You have an account, so nothing was changed.",
        "/account/history",
    ),
    "export_ready": lambda facts: (
        "The copy of your data is ready",
        f"{facts['size']}, to download until {facts['until']}.",
        "/account/data",
    ),
    "export_failed": lambda _: (
        "The copy of your data could not be made",
        "That is a fault of ours. Please ask for it again.",
        "/account/data",
    ),
    "low_balance": lambda facts: ("Few credits are left", f"{facts['credits']} credits.", "/credits"),
    "announcement": lambda facts: (facts["title"], facts["text"], None),
    "erasure_begun": lambda facts: (
        "Your account is to be erased",
        f"On {facts['due']}. Until then you can undo it.",
        "/account/close",
    ),
    "erasure_soon": lambda facts: (
        "Your account will be erased tomorrow",
        f"On {facts['due']}. Until then you can undo it.",
        "/account/close",
    ),
    "erasure_undone": lambda _: ("Your account stays", "The erasure was undone. Nothing was deleted.", None),
    "erasure_waits": lambda _: (
        "Your account cannot be erased yet",
        "It is erased as soon as what stands against it has ended. Our mail says more.",
        "/account/close",
    ),
    "privacy_request": lambda facts: (facts["title"], facts["text"], "/account/data"),
    "privacy_identity": lambda facts: (
        "Is this request yours?",
        f"A mail asks for {facts['what']} in your name. Nothing is done until you say that it was you.",
        "/account/data",
    ),
    "privacy_due": lambda facts: (
        f"A privacy request {facts['when']}",
        facts["what"],
        f"/admin/requests/{facts['request']}",
    ),
    "team_invitation": lambda facts: (
        "You are invited to a team",
        f"Until {facts['until']} you may join or decline. Before you join, you see what its owners would see of you.",
        f"/account/teams/invitations/{facts['invitation']}",
    ),
    "team_change": lambda facts: ("A change in one of your teams", facts["what"], "/account/teams"),
}


def shown(notice: Notice) -> dict[str, Any]:
    title, text, href = WORDS[notice.kind](notice.facts)
    facts = {"id": notice.id, "kind": notice.kind, "title": title, "text": text, "href": href}
    return {**facts, "created_at": notice.created_at, "read": notice.read_at is not None}


@blueprint.get("")
@signed_in
@query(after=AFTER_ID)
@answers(Notices)
async def index() -> ResponseReturnValue:
    """One's own notices, newest first; page by `?after=` the `next` of the page before."""
    return await page(g.account.id, request.args.get("after", ""))


async def page(account_id: UUID, after: str) -> dict[str, Any]:
    """As the API and the page show it. Raises InvalidInput."""
    last = last_id(after)
    async with transaction() as session:
        found = await inbox.page(session, account_id=account_id, after=last)
        unread = await inbox.unread(session, account_id=account_id)
    return {
        "notices": [shown(one) for one in found],
        "unread": unread,
        "next": str(found[-1].id) if len(found) == inbox.PAGE else None,
    }


@blueprint.post("/<uuid:notice_id>/read")
@signed_in
@answers(None, status=204)
async def read_one(notice_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        await inbox.mark_read(session, notice_id, account_id=g.account.id)
    return "", 204


@blueprint.post("/read")
@signed_in
@answers(None, status=204)
async def read_all() -> ResponseReturnValue:
    async with transaction() as session:
        await inbox.mark_all_read(session, account_id=g.account.id)
    return "", 204
