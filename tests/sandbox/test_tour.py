"""`make tour`: it passes where everything holds, and does not where something does not hold."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.processes import Child, free_port
from sandbox.reach import scratch_directory
from sandbox.standins import ROOT
from sandbox.tour import state_in
from tests.sandbox.test_supervisor import processes_of

SANDBOX = [sys.executable, "-m", "sandbox"]
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("CLOFY_")}
STEPS = """home page, register, code from the inbox, verify, sign in, buy credits, pay at Stripe's stand-in,
    credits shown, receipt by mail, begin a consultation, ask, answer over /live, its receipt, ask for more,
    stop it in mid-answer, its receipt, statement, sign out"""


def steps_in(said: str) -> list[str]:
    return re.findall(r"^ *\d+ ms  (\S+(?: \S+)*)", said, re.MULTILINE)


def tour(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SANDBOX, "tour", *arguments], env=ENVIRON | environ, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def state_file() -> Iterator[Path]:
    """Of the whole sandbox, running."""
    with scratch_directory() as directory:
        here = directory / "sandbox"
        environ = ENVIRON | {"CLOFY_SANDBOX_DIR": str(here), "CLOFY_PORT": str(free_port())}
        supervisor = Child("sandbox", [*SANDBOX, "up"], log=directory / "up.log", environ=environ, directory=ROOT)
        supervisor.start()
        try:
            supervisor.wait_until((here / "state.json").exists, seconds=60)
            yield here / "state.json"
        finally:
            supervisor.stop(seconds=12)
        assert processes_of(here) == []


@pytest.fixture
def knobs(state_file: Path) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=state_in(state_file)["sandbox_url"], trust_env=False) as client:
        yield client
        client.post("/control/reset").raise_for_status()


@pytest.mark.timeout(180)  # it starts the whole sandbox, and stops it: 15 s on two quiet cores
def test_every_step_holds_in_a_sandbox_of_its_own_which_is_gone_afterwards() -> None:
    with scratch_directory() as directory:
        done = tour(TMPDIR=str(directory), CLOFY_DATABASE_URL="postgresql+asyncpg://elsewhere/real")

        assert done.returncode == 0, done.stdout + done.stderr
        expected = re.split(r",\s+", STEPS)
        assert steps_in(done.stdout) == ["start a sandbox", *expected, "stop the sandbox"]
        assert "nothing held" in done.stdout
        assert list(directory.iterdir()) == []


@pytest.mark.timeout(180)  # the first to use it starts the whole sandbox
def test_a_running_sandbox_may_be_walked_through(state_file: Path) -> None:
    done = tour("--state", str(state_file))

    assert done.returncode == 0, done.stdout + done.stderr
    assert steps_in(done.stdout) == re.split(r",\s+", STEPS)
    assert state_in(state_file)  # it still runs


@pytest.mark.timeout(180)  # the first to use it starts the whole sandbox
def test_a_tour_ends_at_the_first_step_that_does_not_hold(state_file: Path, knobs: httpx.Client) -> None:
    knobs.patch("/control", json={"openai": {"fail": {"kind": "prompt_filter"}}}).raise_for_status()

    done = tour("--state", str(state_file))

    assert done.returncode == 1
    assert "The tour ended at: answer over /live. no words came, for: content_filter" in done.stderr
    assert steps_in(done.stdout)[-1] == "ask"
    assert "Every step held" not in done.stdout


def test_where_no_sandbox_runs_one_is_told(tmp_path: Path) -> None:
    done = tour("--state", str(tmp_path / "state.json"))

    assert done.returncode == 1
    assert "no sandbox runs there" in done.stderr
