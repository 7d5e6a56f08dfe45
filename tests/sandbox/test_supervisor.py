"""What stands behind `make up`, with trivial processes in the product's place."""

import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox.machine import Machine
from sandbox.processes import SandboxError, free_port, listens
from sandbox.reach import scratch_directory
from sandbox.standins import ROOT


def processes_of(directory: Path) -> list[int]:
    """All that were started for a sandbox, by whomever and at whatever remove: the folder is in their environment."""
    mark = f"CLOFY_SANDBOX_DIR={directory}\0".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            dead = (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not dead and mark in (place / "environ").read_bytes() + b"\0":
                found.append(int(place.name))
        except OSError:
            continue  # it has ended, or is not ours
    return found


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """What `true` gives as soon as it is true; another process's doings have no event to wait for."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
    return value


class Small:
    """A running sandbox."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        self.directory, self.output = directory, directory.with_suffix(".out")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOFY_")}
        ours = {"CLOFY_SANDBOX_DIR": str(directory), "CLOFY_PORT": str(free_port()), "SMALL_PORT": str(free_port())}
        self.environ = ours | environ
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.sandbox.small", *arguments],
                env=inherited | self.environ,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def state(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.directory / "state.json").read_bytes())
        return read

    def wait_until_up(self) -> None:
        until(lambda: self.process.poll() is not None or "Up in" in self.said, 60)
        assert self.process.poll() is None, self.said

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pid in processes_of(self.directory):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def start() -> Iterator[Callable[..., Small]]:
    started: list[Small] = []
    with scratch_directory() as directory:

        def start_one(name: str = "one", *arguments: str, **environ: str) -> Small:
            started.append(Small(directory / name, *arguments, **environ))
            return started[-1]

        yield start_one
        for one in started:
            one.end()


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT, signal.SIGTERM]])
def test_a_stop_ends_all_within_ten_seconds_and_leaves_no_process(
    start: Callable[..., Small], signals: list[int]
) -> None:
    one = start(SMALL_MANNERS="stubborn")
    one.wait_until_up()
    assert len(processes_of(one.directory)) > len(one.state["processes"])  # PostgreSQL has children of its own

    began = time.monotonic()
    for number in signals:
        one.process.send_signal(number)
        until(lambda: "Stopping" in one.said)

    assert one.process.wait(timeout=15) == 0
    assert time.monotonic() - began < 10
    assert processes_of(one.directory) == []
    assert not (one.directory / "state.json").exists()


def test_nothing_outlives_a_supervisor_that_was_killed(start: Callable[..., Small]) -> None:
    one = start()
    one.wait_until_up()

    one.process.kill()
    one.process.wait()

    until(lambda: processes_of(one.directory) == [])


def test_a_process_that_dies_is_started_again_and_one_is_told(start: Callable[..., Small]) -> None:
    one = start()
    one.wait_until_up()
    before = one.state["processes"]

    def has_changed(name: str) -> bool:
        return bool(one.state["processes"][name] != before[name])

    for name in ("web", "valkey", "openai"):
        os.kill(before[name], signal.SIGKILL)
        until(partial(has_changed, name))

    assert "web ended (killed by SIGKILL)" in one.said
    assert "valkey started again" in one.said
    until(lambda: listens(int(one.state["redis_url"].rpartition(":")[2].partition("/")[0])))


def test_what_the_stand_ins_tell_is_shown_to_the_last_line(start: Callable[..., Small]) -> None:
    one = start()
    one.wait_until_up()
    port = json.loads((one.directory / "ports.json").read_bytes())["smtp"]

    with smtplib.SMTP("127.0.0.1", port) as client:
        client.sendmail("clofy@example.com", "ada@example.com", "Subject: Your code\r\n\r\n123456")
    one.process.terminate()
    one.process.wait(timeout=15)

    assert "mail to ada@example.com: Your code" in one.said
    assert "123456" not in one.said


def test_a_first_step_that_fails_is_told_with_its_last_words_and_all_is_stopped(start: Callable[..., Small]) -> None:
    one = start("one", "no.such.module")

    assert one.process.wait(timeout=30) == 1
    assert "first-step failed (exit code 1)" in one.said
    assert "No module named 'no'" in one.said
    assert "Traceback" not in one.said.partition("Its log")[0]
    assert processes_of(one.directory) == []


def test_one_that_ends_before_it_was_ready_is_told_with_its_last_words_and_all_is_stopped(
    start: Callable[..., Small],
) -> None:
    one = start(SMALL_MANNERS="unlucky")

    assert one.process.wait(timeout=30) == 1
    assert "worker ended while it started (exit code 1)" in one.said
    assert "no luck today" in one.said
    assert "Up in" not in one.said
    assert processes_of(one.directory) == []


def test_it_is_not_up_while_somebody_else_answers_on_the_port_of_web(start: Callable[..., Small]) -> None:
    command = [sys.executable, "-m", "http.server", str(port := free_port()), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as stranger:
        try:
            until(lambda: listens(port))
            one = start(SMALL_PORT=str(port))

            assert one.process.wait(timeout=30) == 1
        finally:
            stranger.terminate()
    assert "web ended while it started" in one.said
    assert "Address already in use" in one.said


def test_it_is_up_only_when_the_worker_says_that_it_lives(start: Callable[..., Small], tmp_path: Path) -> None:
    before = start()
    before.wait_until_up()
    before.process.terminate()
    before.process.wait()
    assert (before.directory / "worker.alive").exists()  # as the last run has left it
    os.mkfifo(go := tmp_path / "go")

    one = start(SMALL_MANNERS="polite late", SMALL_GO=str(go))
    until(lambda: listens(int(one.environ["SMALL_PORT"])))
    with pytest.raises(AssertionError, match="did not come true"):
        until(lambda: "Up in" in one.said, 1)
    go.write_text("")

    one.wait_until_up()


def test_two_run_side_by_side_but_not_in_one_folder(start: Callable[..., Small]) -> None:
    one, two = start("one"), start("two")
    one.wait_until_up()
    two.wait_until_up()

    again = start("one")

    assert again.process.wait(timeout=10) == 1
    assert "Another sandbox runs in" in again.said
    assert one.process.poll() is None
    assert one.state["database_url"] != two.state["database_url"]


def test_what_is_given_from_outside_is_not_started(start: Callable[..., Small]) -> None:
    outside = {
        "CLOFY_REDIS_URL": "redis://elsewhere:6379/0",
        "CLOFY_OPENAI_ENDPOINT": "https://elsewhere",
        "CLOFY_OPENAI_API_KEY": "real",
    }
    one = start("one", **outside)
    one.wait_until_up()

    assert one.state["redis_url"] == "redis://elsewhere:6379/0"
    storage = {"azurite"}  # only where npm has brought it
    assert set(one.state["processes"]) - storage == {"postgres", "standins", "web", "worker"}


def test_secrets_and_ports_are_kept_and_closed_to_others(start: Callable[..., Small]) -> None:
    one = start()
    one.wait_until_up()
    before = one.state
    one.process.terminate()
    one.process.wait()

    again = start(CLOFY_PORT=before["app_url"].rpartition(":")[2])
    again.wait_until_up()

    assert {**again.state, "processes": {}} == {**before, "processes": {}}
    for name in ("secrets.json", "state.json"):
        assert (one.directory / name).stat().st_mode & 0o077 == 0


def test_a_port_that_was_asked_for_and_is_taken_is_told(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port := free_port()), "--bind", "127.0.0.1"],
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: listens(port))

        with pytest.raises(SandboxError, match=f"Port {port} is in use"):
            Machine({"CLOFY_SANDBOX_DIR": str(tmp_path), "CLOFY_PORT": str(port)}).open()
    finally:
        server.terminate()
        server.wait()
