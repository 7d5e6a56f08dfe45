"""Our documents for programs: which versions there are, and one's own yes or no to them."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from quart import Blueprint, Response, g
from quart.typing import ResponseReturnValue

from core.database import transaction
from core.errors import NotFound
from core.privacy import engagements, policies
from core.privacy.engagements import Question
from core.privacy.policies import Version
from core.privacy.policy_models import Document
from web.inputs import to_json
from web.openapi import answers
from web.policy_shapes import Engagements, Versions
from web.session import anyone, open_to_all, signed_in

blueprint = Blueprint("policies", __name__)

GPC_SINCE = "2026-11-24"  # when what we do with the signal last changed (W3C, Global Privacy Control, 4.1)


def shown(one: Version) -> dict[str, Any]:
    return {
        "document": one.document,
        "title": one.document.heading,
        "number": one.number,
        "weight": one.weight,
        "summary": one.summary,
        "hash": one.hash.hex(),
        "effective_at": one.effective_at,
        "published_at": one.published_at,
        "href": one.path,
    }


def shown_question(one: Question) -> dict[str, Any]:
    return {"version": shown(one.version), "due": one.due, "declined": one.declined}


@blueprint.get("/.well-known/gpc.json")
@open_to_all
async def honours_signal() -> ResponseReturnValue:
    """That Global Privacy Control is honoured here."""
    said = to_json({"gpc": True, "lastUpdate": GPC_SINCE})
    return Response(said, mimetype="application/json", headers={"Cache-Control": "public, max-age=86400"})


@blueprint.get("/api/policies")
@anyone
@answers(Versions)
async def index() -> ResponseReturnValue:
    """The versions of our documents that are in force, and those that are published and come later."""
    now = datetime.now(UTC)
    found = []
    for document in Document:
        known = await policies.versions(document)
        in_force = [one for one in known if one.is_in_force(now)][-1:]
        found += [*in_force, *(one for one in known if not one.is_in_force(now))]
    return {"versions": [shown(one) for one in found]}


@blueprint.get("/api/account/policies")
@signed_in
@answers(Engagements)
async def mine() -> ResponseReturnValue:
    """What one is asked to agree to, and all that one had to do with our documents."""
    return await of_account(g.account.id)


async def of_account(account_id: UUID) -> dict[str, Any]:
    open_ones = await engagements.questions(account_id=account_id, now=datetime.now(UTC))
    async with transaction() as session:
        rows = await engagements.of_account(session, account_id=account_id)
    return {
        "questions": [shown_question(one) for one in open_ones],
        "engagements": [
            {"document": one.document, "number": one.number, "what": one.what, "via": one.via, "at": one.at}
            for one in rows
        ],
    }


@blueprint.put("/api/account/policies/<document>/<int:edition>")
@signed_in
@answers(None, status=204)
async def accept(document: str, edition: int) -> ResponseReturnValue:
    """Agree to a version."""
    return await _answer(document, edition, accepted=True)


@blueprint.delete("/api/account/policies/<document>/<int:edition>")
@signed_in
@answers(None, status=204)
async def decline(document: str, edition: int) -> ResponseReturnValue:
    """Say no to a version. One may go on until it takes effect, and export, be paid back and leave after that too."""
    return await _answer(document, edition, accepted=False)


async def _answer(document: str, edition: int, *, accepted: bool) -> ResponseReturnValue:
    if document not in {*Document} or not 0 < edition < 2**31:
        raise NotFound(document=document, number=edition)
    async with transaction() as session:
        await engagements.answer(
            session,
            account_id=g.account.id,
            document=Document(document),
            number=edition,
            accepted=accepted,
            now=datetime.now(UTC),
        )
    return "", 204
