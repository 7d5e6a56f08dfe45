"""The erasure of one's account: how it stands, undoing it, and the proof. It is asked for at /api/privacy/requests."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, g
from quart.typing import ResponseReturnValue

from core.database import transaction
from core.errors import ClofyError, Kind
from core.privacy import erasure, erasure_steps
from core.privacy.erasure_models import AccountErasure, ErasureState
from web.callers import caller
from web.erasure_shapes import ErasureFacts, Proof
from web.inputs import to_json
from web.openapi import answers
from web.session import anyone, signed_in

blueprint = Blueprint("erasure", __name__)


class NoSuchProof(ClofyError):
    """This link is not one of ours, or its thirty days are over."""

    kind = Kind.NOT_FOUND


@blueprint.get("/api/account/erasure")
@signed_in
@answers(ErasureFacts)
async def show() -> ResponseReturnValue:
    """Whether one's account is to be erased, when, and whether that can still be undone."""
    return await standing(g.account.id)


async def standing(account_id: UUID) -> dict[str, Any]:
    """As the API and the page show it."""
    async with transaction() as session:
        made = await erasure.standing(session, account_id)
    if made is None:
        return {"state": "none", "asked_at": None, "due_at": None, "can_undo": False, "waits_for": None}
    times = {"asked_at": made.asked_at, "due_at": made.due_at}
    return {
        "state": made.state,
        **times,
        "can_undo": made.state == ErasureState.GRACE,
        "waits_for": made.waits_for,
    }


@blueprint.delete("/api/account/erasure")
@signed_in
@answers(None, status=204, problems=(404, 409))
async def undo() -> ResponseReturnValue:
    """Keep the account after all; nothing was deleted."""
    async with transaction() as session:
        await erasure.undo(session, account_id=g.account.id, now=datetime.now(UTC), caller=caller())
    return "", 204


@blueprint.get("/api/erasures/<token>")
@anyone
@answers(Proof)
async def download(token: str) -> ResponseReturnValue:
    """The proof of an erasure, for who has the link of the last mail; it works for thirty days."""
    made = await proven(token)
    response = Response(to_json(made.proof), mimetype="application/json")
    response.headers["Content-Disposition"] = 'attachment; filename="erasure-proof.json"'
    response.headers["Cache-Control"] = "no-store"
    return response


async def proven(token: str) -> AccountErasure:
    """Raises NoSuchProof."""
    async with transaction() as session:
        made = await erasure_steps.proof_by_link(session, token, now=datetime.now(UTC))
    if made is None:
        raise NoSuchProof
    return made
