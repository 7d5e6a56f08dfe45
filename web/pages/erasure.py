"""Pages of closing an account: what will happen, that it was asked for, and the proof."""

from datetime import UTC, datetime
from uuid import UUID

from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.accounts import profile
from core.billing import purchases
from core.billing.refunds import Refundable, overviews
from core.credits import ledger
from core.database import transaction
from core.privacy import erasure, erasure_proof, erasure_rows
from core.teams import teams
from web import billing
from web import erasure as api
from web.pages import page
from web.session import anyone, fresh

blueprint = Blueprint("erasure_pages", __name__)

NEWEST = 100  # purchases that are looked at for what may be paid back: more than anybody makes in fourteen days


@blueprint.get("/account/close")
@fresh
async def close() -> ResponseReturnValue:
    return await page("close.html", await _close(g.account.id))


async def _close(account_id: UUID) -> dict[str, object]:
    now = datetime.now(UTC)
    async with transaction() as session:
        account = await profile.get_account(session, account_id=account_id)
        bought = await purchases.page(session, account_id=account_id, limit=NEWEST)
        seen = await overviews(session, bought, now=now)
        return {
            "standing": await api.standing(account_id),
            "is_last_admin": await erasure.is_last_admin(session, account),
            "balance": await ledger.balance(session, account_id=account_id),
            "refundable": [billing.described(one) for one in seen if isinstance(one.verdict, Refundable)],
            "teams": await teams.of_account(session, account_id=account_id),
            "goes": erasure_rows.what_goes(),
            "stays": await erasure_rows.what_stays(session, account_id),
            "days": erasure.GRACE.days,
        }


@blueprint.get("/closing")
@anyone
async def closing() -> ResponseReturnValue:
    """After it was asked for: everybody is signed out, so that this page knows nobody."""
    return await page("closing.html", {"days": erasure.GRACE.days})


@blueprint.get("/erasure/<token>")
@anyone
async def proof(token: str) -> ResponseReturnValue:
    made = await api.proven(token)
    assert made.proof is not None
    return await page("erased.html", {"proof": made.proof, "token": token, "ours": erasure_proof.is_ours(made.proof)})
