"""Any history of sales, refunds, disputes, answers, crashes: the rules of the ledger hold after each step; and when all
that happened at Stripe was heard of, the balance is what Stripe's own books and the answers come to.

`make test` tries a few short histories, `make soak` 2,000 of 50 steps (CLOFY_SOAK=examples,steps).
"""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.core.billing.history import History
from tests.core.billing.kit import turn
from tests.house import House
from tests.workers.here import Here

EXAMPLES, STEPS = (int(number) for number in os.environ.get("CLOFY_SOAK", "12,30").split(","))


@pytest.fixture
async def here(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    from workers import billing  # its Celery application reads the settings that `house` has set

    async with Here.open() as made:
        monkeypatch.setattr(billing, "process", lambda: made)
        yield made


async def test_any_history_ends_as_the_books_say(house: House, here: Here) -> None:
    History.loop, History.here = asyncio.get_running_loop(), here
    tried = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # a step takes real milliseconds: the history that failed is shown as it was
        report_multiple_bugs=False,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    await turn(webhooks="off", settle_after_ms=None)
    try:
        await asyncio.to_thread(run_state_machine_as_test, History, settings=tried)
    finally:
        await turn()
