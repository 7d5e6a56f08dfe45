"""Answers: ask the model, pass on what it says, charge for what came."""

from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID

from core.consultations import conversation, generations, model_api  # noqa: F401  # conversation: its on_end hook
from core.consultations.model_api import Answer, PromptFiltered
from core.consultations.models import GenerationState
from core.direct import direct_transaction
from core.jobs import JobState
from core.queue import TaskName
from workers.process import process
from workers.runtime import Run, task


@task(TaskName.ANSWER, time_allowed=timedelta(minutes=5))
async def answer(run: Run) -> dict[str, Any] | None:
    here, said = process(), Answer()
    here.close_at_end(model_api.close)
    with here.turns.beginning() as began:
        order = await generations.load(UUID(run.job.payload["generation"]))
        if order is None:
            return None
        asked = model_api.stream(order.messages, max_tokens=order.output_cap, account_id=order.account_id, answer=said)
        try:
            async with run.until_stopped(), aclosing(asked) as pieces:
                async for piece in pieces:
                    run.out.delta(piece, said.pieces)
                    if said.pieces == 1:
                        began()
                        await run.out.sent()  # these go first: the rest may be here already, and shares the core
        except PromptFiltered:
            said.finish_reason = "content_filter"
    ending = generations.judge(order, said, stopped=run.stopped)
    async with here.turns.ending(), direct_transaction() as unit:
        result = await generations.record(unit, order, ending)
        stopped = ending.state is GenerationState.STOPPED  # a stop that came with the last word stopped nothing
        await run.finish(unit, result, JobState.CANCELLED if stopped else JobState.DONE)
    return None
