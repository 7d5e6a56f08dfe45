"""The real things that tests talk to: PostgreSQL, Valkey, the vendors' stand-ins; and the product's own processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from celery import Celery
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from core.credits import invariants
from sandbox import programs
from sandbox.azurite import Azurite
from sandbox.postgres import Postgres
from sandbox.processes import Child, StartsAndStops, free_port
from sandbox.standins import StandIns
from sandbox.valkey import Valkey

ROOT = Path(__file__).parent.parent
MODULE = [sys.executable, "-m"]
PARTS = {"web0": "web", "web1": "web", "ai": "worker-ai", "default": "worker-default"}


class House(StartsAndStops):
    """PostgreSQL with all migrations and the seeds, Valkey, and the stand-ins; `environ` points to them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.web_ports = [free_port(), free_port()]
        self.postgres = Postgres(directory / "postgres")
        self.valkey = Valkey(directory / "valkey")
        self.azurite = Azurite(directory / "azurite")  # started by who needs it: the fixture `storage`
        self.standins = StandIns(directory / "standins", webhook_url=f"{self.web_url}/webhooks/stripe")

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_ports[0]}"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CLOFY_ENVIRONMENT": "sandbox",
            "CLOFY_PUBLIC_URL": self.web_url,
            "CLOFY_SECRET_KEY": "a-key-for-tests-that-is-long-enough-0123456789",
            "CLOFY_FIELD_KEY": "8f1c5b0e7a3d92641f0b8c7e6d5a4932c1b0af9e8d7c6b5a4938271605f4e3d2",
            "CLOFY_SNAPSHOT_KEY": "2d0e9c4b7f6a1835" * 4,
            "CLOFY_DATABASE_URL": self.postgres.url,
            "CLOFY_REDIS_URL": self.valkey.url,
            "CLOFY_OPENAI_ENDPOINT": self.standins.openai_url,
            "CLOFY_OPENAI_API_KEY": self.standins.openai_key,
            "CLOFY_OPENAI_DEPLOYMENT": "gpt-4-turbo",
            "CLOFY_STRIPE_API_KEY": self.standins.stripe_key,
            "CLOFY_STRIPE_API_BASE": self.standins.stripe_url,
            "CLOFY_STRIPE_WEBHOOK_SECRETS": self.standins.webhook_secret,
            "CLOFY_SMTP_URL": self.standins.smtp_url,
            "CLOFY_BLOB_CONNECTION_STRING": self.azurite.connection_string,
        }

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | self.settings | {"PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()
        self.standins.start()
        self.run("alembic", "upgrade", "head")
        self.run("cli", "seed")

    def stop(self) -> None:
        self.azurite.stop()
        self.standins.stop()
        self.valkey.stop()
        self.postgres.stop()

    def run(self, *words: str) -> None:
        """Run a module of the product to its end. Raises with what it said when it fails."""
        done = subprocess.run(
            [*MODULE, *words], cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{words} failed:\n{done.stdout}{done.stderr}")

    def control(self, **knobs: object) -> None:
        """Turn knobs of the stand-ins: control(openai={"gap_ms": 5})."""
        httpx.patch(f"{self.standins.url}/control", json=knobs).raise_for_status()

    def stats(self, part: str) -> dict[str, int]:
        """What a stand-in has counted since the last reset."""
        told: dict[str, int] = httpx.get(f"{self.standins.url}/control").raise_for_status().json()[part]["stats"]
        return told

    async def until_upstream_is_quiet(self, *, seconds: float) -> None:
        """Until the model has no answer in progress."""
        deadline = time.monotonic() + seconds
        while self.stats("openai")["open"]:
            assert time.monotonic() < deadline, self.stats("openai")
            await asyncio.sleep(0.05)

    def reset(self) -> None:
        httpx.post(f"{self.standins.url}/control/reset").raise_for_status()

    def freeze_redis(self) -> None:
        os.kill(self.valkey.pid, signal.SIGSTOP)

    def thaw_redis(self) -> None:
        os.kill(self.valkey.pid, signal.SIGCONT)


class Stack(House):
    """A house with the product's processes: two web processes and two workers, each to be killed and started again."""

    def __init__(self, directory: Path, *, slots: int = 64) -> None:
        super().__init__(directory)
        self.web = [self._web(number) for number in range(2)]
        self.ai = self._worker("ai", "ai", slots)
        self.default = self._worker("default", "mail,billing,upkeep", 16)

    @property
    def processes(self) -> list[Child]:
        return [*self.web, self.ai, self.default]

    def start(self) -> None:
        super().start()
        for child in self.processes:
            alive = {"CLOFY_ALIVE_FILE": str(self.directory / f"{child.name}.alive")}
            child.environ = self.environ | alive | {"CLOFY_PART": PARTS[child.name]}
            child.start()
        for child, port in zip(self.web, self.web_ports, strict=True):
            child.wait_until(lambda port=port: _answers(f"http://127.0.0.1:{port}/healthz"))  # type: ignore[misc]
        for worker in (self.ai, self.default):
            self.wait_for_worker(worker)

    def stop(self) -> None:
        for child in self.processes:
            child.stop(seconds=10)
        super().stop()

    def wait_for_worker(self, worker: Child) -> None:
        """Until it has said that it is ready, since it was last started."""
        worker.wait_until((self.directory / f"{worker.name}.alive").exists)

    def start_worker(self, worker: Child) -> None:
        (self.directory / f"{worker.name}.alive").unlink(missing_ok=True)
        worker.start()
        self.wait_for_worker(worker)

    def sql(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Ask the house's PostgreSQL directly, in a transaction that is committed."""

        async def ask() -> list[dict[str, Any]]:
            engine = create_async_engine(self.postgres.url)
            async with engine.begin() as connection:
                result = await connection.execute(text(query), values)
                rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
            await engine.dispose()
            return rows

        with ThreadPoolExecutor(1) as pool:  # the caller may be on a loop
            return pool.submit(asyncio.run, ask()).result()

    def redis(self) -> Redis:
        return Redis.from_url(self.valkey.url)

    def ring_all_again(self) -> None:
        """Send the message of every job once more, as Celery does after each trouble with its broker."""
        with Celery(broker=self.valkey.url) as celery:
            for job in self.sql("select id, task, queue from jobs"):
                celery.send_task(job["task"], args=[str(job["id"])], queue=job["queue"], ignore_result=True)

    async def quiet(self, *, seconds: float = 30) -> None:
        """Until no job waits or runs, and no message lies in a queue or in a worker's hands."""
        deadline = time.monotonic() + seconds
        with self.redis() as redis:
            while True:
                busy = self.sql("select count(*) from jobs where state in ('queued', 'running')")[0]["count"]
                messages = sum(redis.llen(name) for name in ("ai", "mail", "billing", "upkeep")) + redis.hlen("unacked")
                if not busy and not messages:
                    return
                assert time.monotonic() < deadline, f"{busy} jobs, {messages} messages"
                await asyncio.sleep(0.1)

    def leave_credits(self, email: str, amount_mc: int) -> None:
        """Take all but this much from an account, by an entry like any other."""
        self.sql(
            """
            select credits_take(account_id, balance_mc - :amount, 'test:' || gen_random_uuid(), 'correction')
            from credit_accounts join accounts on accounts.id = account_id
            where email = :email and balance_mc > :amount
            """,
            amount=amount_mc,
            email=email,
        )

    def unbalanced(self) -> list[tuple[str, dict[str, Any]]]:
        """Each rule of the ledger that does not hold, with the account."""
        return [(rule, row) for rule, query in invariants.CHECKS.items() for row in self.sql(query)]

    def _web(self, number: int) -> Child:
        log = self.directory / "log" / f"web{number}.log"
        return Child(f"web{number}", [*MODULE, *programs.web(self.web_ports[number])], log=log, directory=ROOT)

    def _worker(self, name: str, queues: str, slots: int) -> Child:
        flags = (
            f"-A workers.app worker -P threads -c {slots} -Q {queues} -n {name}@%h --without-gossip --without-mingle"
        )
        log = self.directory / "log" / f"{name}.log"
        return Child(name, [*MODULE, "celery", *flags.split()], log=log, directory=ROOT)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False
