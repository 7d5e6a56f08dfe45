"""Services, consultations, questions."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import StringConstraints
from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core import limits
from core.consultations import catalogue, conversation, queries
from core.database import transaction
from core.direct import Direct, direct
from core.privacy import engagements
from web.inputs import Input, last_id, takes
from web.openapi import AFTER_ID, answers, query
from web.replay import once
from web.session import anyone, signed_in
from web.shapes import AnswerReceipt, AskedFacts, ConsultationFacts, Consultations, Created, ServiceFacts, Services

blueprint = Blueprint("consultations", __name__, url_prefix="/api")

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,60}$")]
Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=16_000)]


class NewConsultation(Input):
    service: Slug


class NewQuestion(Input):
    text: Question


@blueprint.get("/services")
@anyone
@answers(Services)
async def services() -> ResponseReturnValue:
    async with transaction() as session:
        return {"services": [catalogue.describe(one) for one in await catalogue.listed(session)]}


@blueprint.get("/services/<slug>")
@anyone
@answers(ServiceFacts)
async def service(slug: str) -> ResponseReturnValue:
    async with transaction() as session:
        return catalogue.describe(await catalogue.offered(session, slug))


@blueprint.post("/consultations")
@signed_in
@answers(Created, status=201, problems=(404, 429), keyed=True)
@takes(NewConsultation)
async def begin(data: NewConsultation) -> ResponseReturnValue:
    await limits.admit(limits.CONSULTATIONS, account=str(g.account.id), ip="")

    async def create(unit: Direct) -> dict[str, Any]:
        return {"id": str(await conversation.begin(unit, account_id=g.account.id, service=data.service))}

    return await once(create), 201


@blueprint.get("/consultations")
@signed_in
@query(after=AFTER_ID)
@answers(Consultations)
async def index() -> ResponseReturnValue:
    """The account's consultations, newest first; page by `?after=` the last id."""
    last = last_id(request.args.get("after", ""))
    async with transaction() as session:
        found = await queries.consultations(session, account_id=g.account.id, after=last)
    return {"consultations": found, "next": found[-1]["id"] if len(found) == queries.PAGE else None}


@blueprint.get("/consultations/<uuid:consultation_id>")
@signed_in
@answers(ConsultationFacts)
async def show(consultation_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        return await queries.consultation(session, consultation_id, account_id=g.account.id)


@blueprint.get("/messages/<uuid:message_id>/receipt")
@signed_in
@answers(AnswerReceipt)
async def receipt(message_id: UUID) -> ResponseReturnValue:
    """What an answer did cost, and why; by its own id or its question's."""
    async with transaction() as session:
        return await queries.receipt(session, message_id, account_id=g.account.id)


@blueprint.post("/consultations/<uuid:consultation_id>/messages")
@signed_in
@answers(AskedFacts, status=202, problems=(402,), keyed=True)
@takes(NewQuestion)
async def ask(consultation_id: UUID, data: NewQuestion) -> ResponseReturnValue:
    """Take a question: 202 with the job to watch; 402 where the credits do not reach."""
    await engagements.check_agreed(account_id=g.account.id, now=datetime.now(UTC))

    async def create(unit: Direct) -> dict[str, Any]:
        asked = await conversation.ask(
            unit, account_id=g.account.id, consultation_id=consultation_id, question=data.text
        )
        return {
            "job": str(asked.job),
            "message": str(asked.message),
            "hold_mc": asked.hold_mc,
            "output_cap": asked.output_cap,
        }

    return await once(create, alone=direct), 202
