"""The pages of one's own data: what is kept, what one asked for; and the Help Center, which says how it is done."""

from typing import Any

from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.accounts import profile
from core.billing import refunds
from core.database import transaction
from core.privacy import clocks, erasure, exports, requests, restriction
from core.privacy.registry import KINDS, DataClass
from core.privacy.request_models import RequestKind
from web import exports as copies
from web import privacy
from web.pages import page
from web.session import anyone, signed_in

blueprint = Blueprint("privacy_pages", __name__)

STATES = {
    "open": "somebody of us works on it",
    "waiting_for_identity": "waits for you",
    "working": "under way",
    "answered": "answered",
    "refused": "refused",
    "withdrawn": "taken back",
}
KIND_WORDS = {
    RequestKind.ACCESS: "See my data: a copy of all that is kept",
    RequestKind.PORTABILITY: "Take my data along, in a form for machines",
    RequestKind.CORRECTION: "Correct something that I cannot change myself",
    RequestKind.RESTRICTION: "Keep my data, and do nothing else with it",
    RequestKind.OBJECTION: "Object to something that is done with my data",
    RequestKind.OPT_OUT: "Do not sell or share my data",
}


@blueprint.get("/account/data")
@signed_in
async def data() -> ResponseReturnValue:
    async with transaction() as session:
        standing = await restriction.standing(session, g.account.id)
        account = await profile.get_account(session, account_id=g.account.id)
    facts: dict[str, Any] = {
        "classes": await privacy.kept(g.account.id),
        "requests": await privacy.asked_by(g.account.id),
        **await copies.listed(g.account.id),
        "restriction": standing,
        "profile": {"name": account.name, "company": account.company},
        "kinds": KIND_WORDS,
        "names": requests.NAMES,
        "states": STATES,
    }
    return await page("data.html", facts)


@blueprint.get("/help")
@anyone
async def help_center() -> ResponseReturnValue:
    """All figures are those that the code goes by."""
    texts = KINDS[DataClass.TRANSCRIPT].kept
    assert texts is not None
    facts = {
        "acknowledged": clocks.ACKNOWLEDGED_WITHIN,
        "answered": clocks.ANSWERED_WITHIN.days,
        "extended": clocks.EXTENDED_TO.days,
        "further_months": clocks.EXTENDED_MONTHS - clocks.MONTHS,
        "copy_days": exports.LIVES.days,
        "grace_days": erasure.GRACE.days,
        "notice_days": restriction.NOTICE.days,
        "text_days": texts.days,
        "refund_days": refunds.WINDOW.days,
    }
    return await page("help.html", facts)
