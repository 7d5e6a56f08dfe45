"""A question: what it may cost is held, it is kept, and its answering is promised, all in one transaction."""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from core import jobs
from core.consultations import pricing
from core.consultations.models import Generation, GenerationState
from core.consultations.pricing import Price
from core.credits import ledger
from core.direct import Hot, Unit
from core.errors import ClofyError, InvalidInput, Kind, NotFound
from core.jobs import Job, JobState
from core.queue import TaskName


class DataRestricted(ClofyError):
    """You asked us to only keep your data. End that on the page of your data to ask questions again."""

    kind = Kind.FORBIDDEN


@dataclass(frozen=True)
class Asked:
    """A question that was taken: the job that answers it, and what is held for it."""

    job: UUID
    message: UUID
    hold_mc: int
    output_cap: int


_BEGIN = Hot("""
    insert into consultations (account_id, service_id)
    select cast(:account_id as uuid), id from services where slug = :service and listed
    returning id
""")


async def begin(session: Unit, *, account_id: UUID, service: str) -> UUID:
    """Open a consultation on the version of a service that is on offer. Raises NotFound."""
    begun: UUID | None = await _BEGIN.value(session, account_id=account_id, service=service)
    if begun is None:
        raise NotFound(service=service)
    return begun


_TERMS = Hot("""
    select service.id, service.input_mc_per_1k, service.output_mc_per_1k, service.max_output_tokens,
           service.min_output_tokens, service.max_question_chars, octet_length(service.system_prompt),
           (select coalesce(sum(bytes), 0) from messages where consultation_id = consultation.id),
           (select restricted_at is not null from accounts where id = consultation.account_id)
    from consultations consultation join services service on service.id = consultation.service_id
    where consultation.id = :id and consultation.account_id = :account_id
""")

# All of it or nothing, in one statement: four hops less between a question and its first word (docs/decisions/0007).
_TAKE = Hot(
    f"""
    with hold as (
        select credits_hold(cast(:hold_id as uuid), cast(:account_id as uuid), cast(:at_least as bigint),
                            cast(:at_most as bigint), cast(:source as text), cast(:life as interval)) as amount_mc
    ), held as (
        select amount_mc,
               least(cast(:most_output as bigint), (amount_mc * 1000 - cast(:prompt_price as bigint))
                                                   / nullif(cast(:output_price as bigint), 0)) as output_cap
        from hold where amount_mc is not null
    ), question as (
        insert into messages (id, consultation_id, role, said_on, bytes)
        select uuidv7(), cast(:consultation_id as uuid), 'question', (now() at time zone 'utc')::date,
               octet_length(cast(:text as text))
        from held
        returning id, said_on
    ), words as (
        insert into message_texts (said_on, message_id, text) select said_on, id, cast(:text as text) from question
    ), job as (
        {jobs.ENQUEUE} from held
    )
    insert into generations
        (id, consultation_id, question_id, service_id, job_id, hold_id, hold_mc, prompt_cap, output_cap)
    select cast(:id as uuid), cast(:consultation_id as uuid), question.id, cast(:service_id as uuid),
           cast(:job_id as uuid), cast(:hold_id as uuid), held.amount_mc, cast(:prompt_cap as int), held.output_cap
    from question, held
    returning question_id, hold_mc, output_cap
    """  # noqa: S608  # of our own words
)


async def ask(session: Unit, *, account_id: UUID, consultation_id: UUID, question: str) -> Asked:
    """Take a question. Raises NotFound, DataRestricted, InvalidInput, NotEnoughCredits; then nothing is kept or held.

    The hold is the worst case: each byte of the prompt a token, and the answer as long as its cap. Where the balance
    does not reach for that, the cap shrinks to what it reaches for, down to the service's `min_output_tokens`.
    """
    terms = await _TERMS.one(session, id=consultation_id, account_id=account_id)
    if terms is None:
        raise NotFound(consultation=consultation_id)
    service_id, input_price, output_price, most_output, least_output, most_chars, system_bytes, history_bytes = terms[
        :-1
    ]
    if terms[-1]:
        raise DataRestricted
    if len(question) > most_chars:
        raise InvalidInput(field="text", rule=f"must have at most {most_chars} characters")
    price = Price(input_price, output_price)
    prompt_cap = pricing.prompt_cap(system_bytes, len(question.encode()), history_bytes)
    generation_id, job_id, hold_id = uuid4(), uuid4(), uuid4()
    at_least_mc = max(price.cost_mc(prompt_cap, least_output), 1)
    taken = await _TAKE.one(
        session,
        id=generation_id,
        consultation_id=consultation_id,
        text=question,
        service_id=service_id,
        hold_id=hold_id,
        at_least=at_least_mc,
        at_most=max(price.cost_mc(prompt_cap, most_output), 1),
        source=f"generation:{generation_id}",
        life=ledger.HOLD_LIFE,
        prompt_cap=prompt_cap,
        prompt_price=prompt_cap * input_price,
        output_price=output_price,
        most_output=most_output,
        **jobs.facts_of(TaskName.ANSWER, job_id, payload={"generation": str(generation_id)}, account_id=account_id),
    )
    if taken is None:
        have = await ledger.balance(session, account_id=account_id)
        raise ledger.NotEnoughCredits(needed_mc=at_least_mc, available_mc=have.available_mc)
    jobs.ring_then(session, TaskName.ANSWER, job_id)
    question_id, hold_mc, output_cap = taken
    return Asked(job=job_id, message=question_id, hold_mc=hold_mc, output_cap=output_cap)


@jobs.on_end(TaskName.ANSWER)
async def give_back(session: AsyncSession, job: Job, outcome: JobState, reason: str) -> None:
    """The job ended without an answer: it costs nothing."""
    generation = await session.get(Generation, UUID(job.payload["generation"]), with_for_update=True)
    if generation is None or generation.state != GenerationState.WAITING:
        return
    generation.state = GenerationState.STOPPED if outcome is JobState.CANCELLED else GenerationState.FAILED
    generation.end_reason = "stopped" if outcome is JobState.CANCELLED else reason
    generation.cost_mc = 0
    generation.ended_at = job.finished_at
    await session.flush()
    await ledger.release(session, hold_id=generation.hold_id)
