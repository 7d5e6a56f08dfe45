"""What the pages and the API show of consultations: one's own, or what a member of a team shows to its owners."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.consultations import catalogue
from core.consultations.models import Consultation, Generation, Message, MessageRole, MessageText, Service
from core.errors import NotFound

PAGE = 30  # consultations
MOST_MESSAGES = 400  # of one consultation, the newest


def _of(generation: Generation) -> dict[str, Any]:
    return {
        "state": generation.state,
        "job": str(generation.job_id),
        "end_reason": generation.end_reason,
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.completion_tokens,
        "usage_estimated": generation.usage_estimated,
        "hold_mc": generation.hold_mc,
        "cost_mc": generation.cost_mc,
        "ended_at": generation.ended_at.isoformat() if generation.ended_at else None,
    }


async def consultation(
    session: AsyncSession, consultation_id: UUID, *, account_id: UUID, since: datetime | None = None
) -> dict[str, Any]:
    """One consultation with its messages, oldest first; a text that was purged is None. Raises NotFound.

    since: one that was begun before is not there
    """
    query = select(Consultation, Service).join(Service, Service.id == Consultation.service_id)
    mine = (Consultation.id == consultation_id) & (Consultation.account_id == account_id)
    found = (await session.execute(query.where(mine))).one_or_none()
    if found is None or (since is not None and found[0].created_at < since):
        raise NotFound(consultation=consultation_id)
    begun, service = found
    rows = (
        select(Message, MessageText.text, Generation)
        .outerjoin(MessageText, and_(MessageText.said_on == Message.said_on, MessageText.message_id == Message.id))
        .outerjoin(Generation, Generation.question_id == Message.id)
        .where(Message.consultation_id == consultation_id)
        .order_by(Message.id.desc())
        .limit(MOST_MESSAGES)
    )
    messages: list[dict[str, Any]] = []
    answers: dict[UUID, dict[str, Any]] = {}
    for message, words, generation in await session.execute(rows):
        shown = {
            "id": str(message.id),
            "role": message.role,
            "text": words,
            "created_at": message.created_at.isoformat(),
            "generation": _of(generation) if generation else None,
        }
        if generation is None:
            answers[message.id] = shown  # newest first: before its question, after which it is shown
        else:
            answer = answers.pop(generation.answer_id, None) if generation.answer_id else None
            messages += [answer, shown] if answer else [shown]
    return {
        "id": str(begun.id),
        "created_at": begun.created_at.isoformat(),
        "service": catalogue.describe(service),
        "messages": messages[::-1],
    }


async def consultations(
    session: AsyncSession,
    *,
    account_id: UUID,
    after: UUID | None = None,
    limit: int = PAGE,
    since: datetime | None = None,
) -> list[dict[str, Any]]:
    """The account's consultations, newest first, each with the beginning of its first question.

    since: those that were begun before are left out
    """
    first = (
        select(func.left(MessageText.text, 120))
        .join(Message, and_(Message.id == MessageText.message_id, Message.said_on == MessageText.said_on))
        .where(Message.consultation_id == Consultation.id, Message.role == MessageRole.QUESTION)
        .order_by(Message.id)
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(Consultation.id, Consultation.created_at, Service.slug, Service.name, first)
        .join(Service, Service.id == Consultation.service_id)
        .where(Consultation.account_id == account_id)
        .order_by(Consultation.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(Consultation.id < after)
    if since is not None:
        query = query.where(Consultation.created_at >= since)
    return [
        {"id": str(row_id), "created_at": at.isoformat(), "service": {"slug": slug, "name": name}, "beginning": words}
        for row_id, at, slug, name, words in await session.execute(query)
    ]


async def causes(session: AsyncSession, generation_ids: Sequence[UUID]) -> dict[UUID, dict[str, str]]:
    """For the lines of a statement: which service an answer was of, and where it can be read."""
    query = (
        select(Generation.id, Generation.consultation_id, Generation.answer_id, Service.name)
        .join(Service, Service.id == Generation.service_id)
        .where(Generation.id.in_(generation_ids))
    )
    return {
        row_id: {"what": name, "link": f"/consultations/{consultation_id}" + (f"#message-{answer}" if answer else "")}
        for row_id, consultation_id, answer, name in await session.execute(query)
    }


async def receipt(session: AsyncSession, message_id: UUID, *, account_id: UUID) -> dict[str, Any]:
    """What an answer did cost and why, by its id or its question's; what is held, while it waits. Raises NotFound."""
    query = (
        select(Generation, Service)
        .join(Consultation, Consultation.id == Generation.consultation_id)
        .join(Service, Service.id == Generation.service_id)
        .where(or_(Generation.question_id == message_id, Generation.answer_id == message_id))
        .where(Consultation.account_id == account_id)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound(message=message_id)
    generation, service = found
    return {
        "question": str(generation.question_id),
        "answer": str(generation.answer_id) if generation.answer_id else None,
        "asked_at": generation.created_at.isoformat(),
        "price": {
            "service": service.slug,
            "name": service.name,
            "version": service.version,
            "input_mc_per_1k": service.input_mc_per_1k,
            "output_mc_per_1k": service.output_mc_per_1k,
        },
        **_of(generation),
    }
