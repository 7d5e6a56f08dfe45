"""A question is taken whole, in one statement, or not at all."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core import queue
from core.consultations import conversation
from core.consultations.conversation import Asked
from core.credits import ledger
from core.credits.ledger import NotEnoughCredits
from core.database import transaction
from core.direct import direct
from core.errors import NotFound
from core.queue import TaskName
from tests import makers

QUESTION = "Why?"


async def rich(account_id: UUID, amount_mc: int) -> None:
    async with transaction() as session:
        await ledger.grant(session, account_id=account_id, amount_mc=amount_mc, source=f"test:{uuid4()}", kind="grant")


async def consult(account_id: UUID) -> UUID:
    async with transaction() as session:
        return await makers.make_consultation(session, account_id)


async def ask(account_id: UUID, consultation_id: UUID) -> Asked:
    """As the web does."""
    async with direct() as unit:
        return await conversation.ask(unit, account_id=account_id, consultation_id=consultation_id, question=QUESTION)


async def row(sql: str, **facts: object) -> dict[str, object]:
    async with transaction() as session:
        return dict((await session.execute(text(sql), facts)).mappings().one())


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []
    monkeypatch.setattr(queue, "ring", calls.extend)
    return calls


async def test_all_of_a_question_is_kept_and_rung_once(rich_id: UUID, rung: list[object]) -> None:
    asked = await ask(rich_id, await consult(rich_id))

    kept = await row(
        """
        select words.text, words.said_on = message.said_on as together, message.bytes, job.state, job.queue, job.task,
               job.account_id, job.payload ->> 'generation' = cast(generation.id as text) as named, hold.amount_mc,
               generation.hold_mc, generation.output_cap
        from generations generation
        join messages message on message.id = generation.question_id
        join message_texts words on words.message_id = message.id
        join jobs job on job.id = generation.job_id
        join credit_holds hold on hold.id = generation.hold_id
        where generation.question_id = :id
        """,
        id=asked.message,
    )
    assert kept == {
        "text": QUESTION,
        "together": True,
        "bytes": len(QUESTION),
        "state": "queued",
        "queue": "ai",
        "task": TaskName.ANSWER,
        "account_id": rich_id,
        "named": True,
        "amount_mc": asked.hold_mc,
        "hold_mc": asked.hold_mc,
        "output_cap": asked.output_cap,
    }
    assert rung == [(TaskName.ANSWER, asked.job)]


async def test_a_small_balance_makes_the_answer_shorter_and_never_dearer_than_it(account_id: UUID) -> None:
    consultation_id = await consult(account_id)
    await rich(account_id, 10_000_000)
    full = await ask(account_id, consultation_id)
    other_id = await _another(full.hold_mc - 1)

    asked = await ask(other_id, await consult(other_id))

    terms = await row(
        "select * from services join generations g on g.service_id = services.id where g.question_id = :id",
        id=asked.message,
    )
    thousandths = int(terms["prompt_cap"]) * int(terms["input_mc_per_1k"])  # type: ignore[call-overload]
    price = int(terms["output_mc_per_1k"])  # type: ignore[call-overload]
    assert asked.hold_mc == full.hold_mc - 1
    assert asked.output_cap < full.output_cap
    assert thousandths + asked.output_cap * price <= asked.hold_mc * 1000 < thousandths + (asked.output_cap + 1) * price


async def _another(amount_mc: int) -> UUID:
    async with transaction() as session:
        account_id = await makers.make_account(session)
    await rich(account_id, amount_mc)
    return account_id


async def test_nothing_of_a_question_stays_that_the_credits_do_not_reach_for(
    account_id: UUID, rung: list[object]
) -> None:
    consultation_id = await consult(account_id)

    with pytest.raises(NotEnoughCredits):
        await ask(account_id, consultation_id)

    counts = await row(
        """
        select (select count(*) from messages where consultation_id = :consultation) as messages,
               (select count(*) from generations where consultation_id = :consultation) as generations,
               (select count(*) from jobs where account_id = :account) as jobs,
               (select count(*) from credit_holds where account_id = :account) as holds
        """,
        consultation=consultation_id,
        account=account_id,
    )
    assert set(counts.values()) == {0}
    assert rung == []


async def test_anothers_consultation_is_not_there(rich_id: UUID) -> None:
    theirs = await consult(await _another(1))

    with pytest.raises(NotFound):
        await ask(rich_id, theirs)
