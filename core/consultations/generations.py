"""An answer in the making: what the model is asked, how it ended, what is charged for it (the fairness rule)."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.consultations.model_api import Answer
from core.consultations.models import Generation, GenerationState
from core.consultations.pricing import MOST_MESSAGES, PER_MESSAGE, Price, estimate_tokens
from core.credits import ledger
from core.direct import Hot, Unit, direct
from core.jobs import Job


@dataclass(frozen=True)
class Order:
    """What a worker needs to have a question answered."""

    id: UUID
    account_id: UUID
    hold_id: UUID
    hold_mc: int
    output_cap: int
    price: Price
    messages: list[dict[str, str]]  # as the model takes them: the system prompt, what was said before, the question

    @property
    def prompt_estimate(self) -> int:
        return sum(estimate_tokens(one["content"]) + PER_MESSAGE for one in self.messages)


@dataclass(frozen=True)
class Ending:
    """How an answer ended, and what is charged: nothing, unless the person has got something."""

    state: GenerationState
    reason: str
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost_mc: int = 0


_ORDER = Hot("""
    select generation.id, consultation.account_id, generation.hold_id, generation.hold_mc, generation.output_cap,
           generation.prompt_cap, service.input_mc_per_1k, service.output_mc_per_1k, service.system_prompt,
           (select cast(json_agg(json_build_array(said.id, said.role, said.said_on) order by said.id desc) as text)
            from (
                select id, role, said_on from messages
                where consultation_id = generation.consultation_id and id <= generation.question_id
                order by id desc limit :most
           ) said) as said
    from generations generation
    join consultations consultation on consultation.id = generation.consultation_id
    join services service on service.id = generation.service_id
    where generation.id = :id and generation.state = 'waiting'
""")

# One day at a time, by a parameter: a join would have PostgreSQL open the tables of all days for each question.
_WORDS = Hot(
    "select message_id, text from message_texts where said_on = :day and message_id = any(cast(:ids as uuid[]))"
)


async def load(generation_id: UUID) -> Order | None:
    """What is to be answered; None when it has ended already, or its words are gone."""
    async with direct() as unit:
        row = await _ORDER.one(unit, id=generation_id, most=MOST_MESSAGES + 1)
        if row is None:
            return None
        *terms, system_prompt, listed = row
        messages = [(UUID(name), role, day) for name, role, day in orjson.loads(listed)]
        words: dict[UUID, str] = {}
        for day in {day for _, _, day in messages}:
            ids = [message_id for message_id, _, its_day in messages if its_day == day]
            words |= {name: said for name, said in await _WORDS.all(unit, day=date.fromisoformat(day), ids=ids)}  # noqa: C416  # rows, not pairs
    said = [(role, words[message_id]) for message_id, role, _ in messages if message_id in words]
    if not said or said[0][0] != "question":
        return None
    found_id, account_id, hold_id, hold_mc, output_cap, prompt_cap, input_price, output_price = terms
    system = {"role": "system", "content": system_prompt}
    return Order(
        id=found_id,
        account_id=account_id,
        hold_id=hold_id,
        hold_mc=hold_mc,
        output_cap=output_cap,
        price=Price(input_price, output_price),
        messages=[system, *_within(said, prompt_cap - len(system_prompt.encode()))],
    )


def _within(newest_first: list[tuple[str, str]], most_bytes: int) -> list[dict[str, str]]:
    """The question, and as much of what was said before as the hold allows for; oldest first."""
    taken: list[dict[str, str]] = []
    left = most_bytes
    for role, words in newest_first:
        left -= len(words.encode()) + PER_MESSAGE
        if left < 0 and taken:
            break
        taken.append({"role": "user" if role == "question" else "assistant", "content": words})
    return taken[::-1]


def judge(order: Order, answer: Answer, *, stopped: bool) -> Ending:
    """The fairness rule. No answer, a filter's block, our own fault: nothing. A stopped answer: what was produced."""
    if answer.finish_reason == "content_filter":
        return Ending(GenerationState.FILTERED, "content_filter")
    if not answer.text:
        return Ending(GenerationState.STOPPED if stopped else GenerationState.FAILED, "stopped" if stopped else "empty")
    estimated = answer.completion_tokens is None
    prompt = order.prompt_estimate if answer.prompt_tokens is None else answer.prompt_tokens
    completion = answer.pieces if answer.completion_tokens is None else answer.completion_tokens
    done = answer.finish_reason is not None
    return Ending(
        state=GenerationState.DONE if done else GenerationState.STOPPED,
        reason=answer.finish_reason or "stopped",
        text=answer.text,
        prompt_tokens=prompt,
        completion_tokens=completion,
        estimated=estimated,
        cost_mc=min(order.price.cost_mc(prompt, completion), order.hold_mc),
    )


_END = Hot("""
    with ended as (
        update generations
        set state = :state, end_reason = :reason,
            prompt_tokens = :prompt_tokens, completion_tokens = :completion_tokens,
            usage_estimated = :estimated, cost_mc = :cost_mc, ended_at = now(),
            answer_id = case when cast(:text as text) = '' then null else uuidv7() end
        where id = :id and state = 'waiting'
        returning consultation_id, answer_id
    ), answer as (
        insert into messages (id, consultation_id, role, said_on, bytes)
        select answer_id, consultation_id, 'answer', (now() at time zone 'utc')::date, octet_length(cast(:text as text))
        from ended where answer_id is not null
        returning id, said_on
    ), words as (
        insert into message_texts (said_on, message_id, text) select said_on, id, cast(:text as text) from answer
    )
    select answer_id from ended
""")


async def record(session: Unit, order: Order, ending: Ending) -> dict[str, Any] | None:
    """Keep the answer and charge for it, once; the caller fences it by finishing the job in the same transaction.

    Returns what the person is told, or None when it had ended before: then nothing is kept and nothing charged.
    """
    row = await _END.one(
        session,
        id=order.id,
        state=ending.state,
        reason=ending.reason,
        prompt_tokens=ending.prompt_tokens,
        completion_tokens=ending.completion_tokens,
        estimated=ending.estimated,
        cost_mc=ending.cost_mc,
        text=ending.text,
    )
    if row is None:
        return None
    if ending.cost_mc > 0:
        await ledger.settle(session, hold_id=order.hold_id, cost_mc=ending.cost_mc)
    else:
        await ledger.release(session, hold_id=order.hold_id)
    return {
        "state": ending.state,
        "end_reason": ending.reason,
        "prompt_tokens": ending.prompt_tokens,
        "completion_tokens": ending.completion_tokens,
        "usage_estimated": ending.estimated,
        "hold_mc": order.hold_mc,
        "cost_mc": ending.cost_mc,
        "message": str(row[0]) if row[0] else None,
        "chars": len(ending.text),
    }


async def expire(session: AsyncSession, *, now: datetime) -> list[Job]:
    """End what holds credits for longer than an answer can take. Returns the jobs that ended here."""
    ended: list[Job] = []
    for hold in await ledger.expired_holds(session, now=now):
        generation = await session.scalar(select(Generation).where(Generation.hold_id == hold.id))
        job = await session.get(Job, generation.job_id, with_for_update=True) if generation else None
        if job is None or job.state in jobs.ENDED:
            await ledger.release(session, hold_id=hold.id)
            continue
        await jobs.stop(session, job)
        if job.state in jobs.ENDED:
            ended.append(job)
    return ended
