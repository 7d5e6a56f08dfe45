"""PostgreSQL and Valkey out of their wheels."""

import os
import signal
from pathlib import Path

import asyncpg
import pytest
import redis

from sandbox import reach
from sandbox.postgres import Postgres
from sandbox.processes import SandboxError
from sandbox.reach import scratch_directory
from sandbox.valkey import Valkey


async def query(postgres: Postgres, *statements: str) -> object:
    connection = await asyncpg.connect(postgres.url.replace("+asyncpg", ""))
    try:
        for statement in statements:
            answer = await connection.fetchval(statement)
    finally:
        await connection.close()
    return answer


async def test_postgres_keeps_its_data_and_password_over_a_restart(scratch: Path) -> None:
    with Postgres(scratch / "postgres") as first:
        await query(first, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    with Postgres(scratch / "postgres") as second:
        assert await query(second, "SELECT n FROM kept") == 7
        assert await query(second, "SHOW fsync") == "on"
        assert str(await query(second, "SHOW server_version")).startswith("18.")


async def test_postgres_starts_again_after_it_was_killed(scratch: Path) -> None:
    postgres = Postgres(scratch / "killed")
    postgres.start()
    await query(postgres, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    os.kill(postgres.pid, signal.SIGKILL)
    postgres.stop()

    with postgres:
        assert await query(postgres, "SELECT n FROM kept") == 7


async def test_postgres_wants_its_password(scratch: Path) -> None:
    with Postgres(scratch / "guarded") as postgres, pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://clofy:wrong@127.0.0.1:{postgres.port}/clofy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")
async def test_postgres_runs_though_its_folder_is_closed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with scratch_directory() as directory, scratch_directory() as elsewhere:
        monkeypatch.setattr(reach, "OPEN_PLACE", elsewhere / "open")
        directory.chmod(0o700)
        with Postgres(directory / "postgres") as first:
            await query(first, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
        with Postgres(directory / "postgres") as second:
            assert await query(second, "SELECT n FROM kept") == 7
            assert second.home.is_relative_to(elsewhere)
        assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")
def test_where_postgres_can_be_nowhere_one_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with scratch_directory() as directory:
        monkeypatch.setattr(reach, "OPEN_PLACE", Path("/proc/none"))
        directory.chmod(0o700)

        with pytest.raises(SandboxError, match="run as an ordinary user, or move the clone"):
            Postgres(directory / "postgres").start()


def test_valkey_keeps_its_data_and_port_over_a_restart(scratch: Path) -> None:
    with Valkey(scratch / "valkey") as valkey, redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "7")
        valkey.stop()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        valkey.start()

        assert client.get("kept") == b"7"
        policy = client.config_get("maxmemory-policy")
        assert policy == {"maxmemory-policy": "noeviction"}


def test_a_frozen_valkey_can_still_be_stopped(scratch: Path) -> None:
    valkey = Valkey(scratch / "frozen")
    valkey.start()
    os.kill(valkey.pid, signal.SIGSTOP)

    valkey.stop()

    assert not valkey.child.running
