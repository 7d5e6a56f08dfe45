"""What people ask of us under data protection law, and what we keep about them."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from quart import Blueprint, g
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.privacy import asking, mine, requests, restriction
from core.privacy.request_models import PrivacyRequest, RequestKind
from web.callers import caller
from web.inputs import Input, takes
from web.openapi import answers
from web.privacy_shapes import RequestFacts, RequestKindName, Requests, Shares
from web.replay import once
from web.session import Permission, fresh, require, signed_in

blueprint = Blueprint("privacy", __name__, url_prefix="/api/privacy")

Details = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]


class NewRequest(Input):
    kind: RequestKindName
    details: Details = Field(default="")


@blueprint.post("/requests")
@signed_in
@answers(RequestFacts, status=201, keyed=True, problems=(429,))
@answers(RequestFacts, status=200)
@takes(NewRequest)
async def ask(data: NewRequest) -> ResponseReturnValue:
    """Ask for something; while one of its kind is unfinished, it is that one (200). Erasures need a fresh sign-in."""
    kind = RequestKind(data.kind)
    if kind == RequestKind.ERASURE:
        require(Permission.FRESH, g.account)

    async def create(session: AsyncSession) -> dict[str, Any]:
        row, is_new = await asking.ask(
            session, account_id=g.account.id, kind=kind, words=data.details, now=datetime.now(UTC), caller=caller()
        )
        return {"id": str(row.id), "status": 201 if is_new else 200}

    made = await once(create, begin=transaction)
    async with transaction() as session:
        row = await requests.find(session, UUID(made["id"]), account_id=g.account.id)
    return shown(row), made["status"]


def shown(row: PrivacyRequest) -> dict[str, Any]:
    """As the person who asked sees it."""
    names = ("id", "kind", "state", "sources", "received_at", "acknowledged_at", "extended_at", "extension_reason")
    ends = ("closed_at", "outcome", "basis")
    return {
        "details": row.words,
        "answer_by": min(row.gdpr_due, row.ccpa_due).isoformat(),
        **{name: getattr(row, name) for name in (*names, *ends)},
    }


@blueprint.get("/requests")
@signed_in
@answers(Requests)
async def index() -> ResponseReturnValue:
    """What one has asked for, newest first."""
    return {"requests": await asked_by(g.account.id)}


async def asked_by(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        return [shown(row) for row in await requests.of_account(session, account_id=account_id)]


@blueprint.get("/requests/<uuid:request_id>")
@signed_in
@answers(RequestFacts)
async def show(request_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        return shown(await requests.find(session, request_id, account_id=g.account.id))


@blueprint.delete("/requests/<uuid:request_id>")
@signed_in
@answers(None, status=204, problems=(409,))
async def withdraw(request_id: UUID) -> ResponseReturnValue:
    """Take it back. An erasure is undone, within its days of grace."""
    async with transaction() as session:
        facts: dict[str, Any] = {"account_id": g.account.id, "now": datetime.now(UTC), "caller": caller()}
        await asking.withdraw(session, request_id, **facts)
    return "", 204


@blueprint.post("/requests/<uuid:request_id>/confirm")
@fresh
@answers(RequestFacts, problems=(409,))
async def confirm(request_id: UUID) -> ResponseReturnValue:
    """Say that a request which came by mail is one's own; it is begun with. Needs a fresh sign-in."""
    async with transaction() as session:
        row = await asking.confirm(session, request_id, account_id=g.account.id, now=datetime.now(UTC), caller=caller())
        return shown(row)


@blueprint.post("/requests/<uuid:request_id>/deny")
@signed_in
@answers(None, status=204, problems=(409,))
async def deny(request_id: UUID) -> ResponseReturnValue:
    """Say that it was somebody else, who gets nothing and is told nothing."""
    async with transaction() as session:
        await asking.deny(session, request_id, account_id=g.account.id, now=datetime.now(UTC), caller=caller())
    return "", 204


@blueprint.delete("/restriction")
@signed_in
@answers(None, status=204, problems=(409,))
async def end_restriction() -> ResponseReturnValue:
    """Have one's data used again as before. It begins by a request of that kind."""
    async with transaction() as session:
        await restriction.end(session, account_id=g.account.id, now=datetime.now(UTC), caller=caller())
    return "", 204


@blueprint.get("/data")
@signed_in
@answers(Shares)
async def data() -> ResponseReturnValue:
    """What is kept about oneself: by class, why, how long, and how much of it there is."""
    return {"classes": await kept(g.account.id)}


async def kept(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        found = await mine.shares(session, account_id)
    return [
        {
            "data_class": one.of,
            "holds": one.kind.holds,
            "purpose": one.kind.purpose,
            "basis": one.kind.basis,
            "kept_days": one.kind.kept.days if one.kind.kept else None,
            "rows": one.rows,
        }
        for one in found
    ]
