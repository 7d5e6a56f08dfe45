"""While a restore is under way nothing works, and the probe says so."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import text

from core.database import transaction
from sandbox.processes import Child
from tests.core.privacy.test_restore import Fresh, fresh, until_told
from tests.house import MODULE, ROOT, House

__all__ = ["fresh"]


async def test_the_probe_is_not_ready_until_the_restore_has_ended(client: Client) -> None:
    before = (await client.get("/readyz")).status_code
    async with transaction() as session:
        await session.execute(
            text("insert into restores (snapshot, taken_at, begun_at) values (:day, now(), now())"),
            {"day": datetime.now(UTC).date()},
        )
    try:
        answer = await client.get("/readyz")
    finally:
        async with transaction() as session:
            await session.execute(text("delete from restores where ended_at is null"))

    assert before == (await client.get("/readyz")).status_code == 200
    assert (answer.status_code, await answer.get_json()) == (503, {"state": "being restored"})


@pytest.mark.parametrize("pool", ["threads", "prefork"])
async def test_a_worker_takes_nothing_up_before(house: House, fresh: Fresh, tmp_path: Path, pool: str) -> None:
    alive = tmp_path / "alive"
    flags = f"-A workers.app worker -P {pool} -c 1 -Q upkeep -n waits-{pool}@%h --without-gossip --without-mingle"
    worker = Child(
        "worker",
        [*MODULE, "celery", *flags.split()],
        log=tmp_path / "worker.log",
        environ=house.environ | {"CLOFY_DATABASE_URL": fresh.url, "CLOFY_ALIVE_FILE": str(alive)},
        directory=ROOT,
    )
    worker.start()
    try:
        await until_told(worker.log, "start_waits_for_the_database")
        assert not alive.exists()
        assert "ready." not in await asyncio.to_thread(worker.log.read_text)
    finally:
        worker.stop()
