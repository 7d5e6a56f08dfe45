"""The product as it is measured: one process of each kind, all behind the port on one core, and people with credits."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from bench.answers import SERVICE
from bench.arms import Person
from bench.machine import BEHIND, FRONT, pin
from core.accounts.web_sessions import csrf_token, start_session, token_hash
from core.consultations import catalogue
from core.consultations.models import Consultation
from core.credits import invariants, ledger
from core.credits.models import CreditAccount
from core.database import transaction
from core.direct import close_connections
from core.jobs import Job, JobState
from core.settings import settings
from sandbox.postgres import scratch_directory
from tests.house import Stack
from tests.makers import make_account

GRANT_MC = 10**12  # more than any run spends


class MeasuredHouse(Stack):
    """`groups` names the processes whose CPU is counted."""

    def __init__(self, directory: Path, *, slots: int) -> None:
        super().__init__(directory, slots=slots)
        self.web, self.web_ports = self.web[:1], self.web_ports[:1]

    @property
    def groups(self) -> dict[str, int]:
        behind = [*self.web, self.ai, self.default, self.valkey.child, self.postgres.child]
        names = ["web", "worker-ai", "worker-default", "valkey", "postgres"]
        return dict(zip(names, [child.pid for child in behind], strict=True))

    @property
    def stand_in(self) -> int:
        return next(child.pid for child in self.standins.children if child.name == "openai")

    def most_open_at_the_model(self) -> int:
        """How many answers the stand-in had open at once, at most."""
        stats = httpx.get(f"{self.standins.openai_url}/control").json()["stats"]
        return int(stats["peak"])

    async def redis_connections(self) -> int:
        async with Redis.from_url(self.valkey.url) as redis:
            clients: list[Any] = await redis.client_list()
        return len(clients) - 1  # ours

    def start(self) -> None:
        super().start()
        os.environ.update(self.settings)  # this process fills the database through core ...
        settings.cache_clear()  # ... and each house has one of its own
        for pid in self.groups.values():
            pin(pid, BEHIND)
        for child in self.standins.children:
            pin(child.pid, FRONT)

    async def invite(self, count: int) -> list[Person]:
        """People who are signed in, have credits and a socket open."""
        people = []
        for _ in range(count):
            async with transaction() as session:
                account_id = await make_account(session)
                await ledger.grant(
                    session, account_id=account_id, amount_mc=GRANT_MC, source=f"bench:{account_id}", kind="grant"
                )
                token = await start_session(session, account_id=account_id, user_agent="bench", ip="127.0.0.1")
            cookie = f"clofy={token}"
            people.append(await Person.arrive(self.web_url, account_id, cookie, csrf_token(token_hash(token))))
        return people

    async def open_consultations(self, people: list[Person], each: int) -> None:
        """See that everybody has `each` consultations in which nothing has been said."""
        async with transaction() as session:
            service = await catalogue.offered(session, SERVICE.slug)
            for person in people:
                rows = [{"account_id": person.account_id, "service_id": service.id}] * (
                    each - len(person.consultations)
                )
                if rows:
                    made = await session.scalars(insert(Consultation).values(rows).returning(Consultation.id))
                    person.consultations.extend(str(consultation_id) for consultation_id in made)

    async def books(self) -> dict[str, int]:
        """What must all be 0 once every answer has ended."""
        async with transaction() as session:
            unbalanced = await invariants.violations(session)
            query = select(func.count()).where(Job.state != JobState.DONE, Job.queue == "ai")
            not_done = (await session.execute(query)).scalar_one()
            held = (await session.execute(select(func.coalesce(func.sum(CreditAccount.held_mc), 0)))).scalar_one()
        return {"unbalanced_accounts": len(unbalanced), "jobs_not_done": not_done, "held_mc": int(held)}


@asynccontextmanager
async def measured_house(*, slots: int) -> AsyncIterator[MeasuredHouse]:
    """A house for one measurement, with so many slots for answers."""
    with scratch_directory("clofy-bench-") as directory, MeasuredHouse(directory, slots=slots) as house:
        try:
            yield house
        finally:
            await close_connections()
