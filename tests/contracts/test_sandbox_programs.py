"""What runs on one machine is what runs in production: the same commands, but for addresses and folders."""

import json
from pathlib import Path

from core.queue import POLICIES
from sandbox import programs
from tests.contracts import deployment
from tests.contracts.deployment import services, stages, workers

WHERE = {"--host", "--port", "--timeout-graceful-shutdown", "--schedule"}  # may differ
PROGRAMS = {
    one.name: one.arguments
    for one in programs.product(web_port=1, flower_port=2, flower_password="-", directory=Path("/"))
}


def without_places(command: list[str]) -> list[str]:
    """The words of a command, but for those that say where, each with its value."""
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in WHERE:
            next(words)
        elif word.partition("=")[0] not in {"--address", "--port"}:
            kept.append(word)
    return kept


def test_web_is_served_in_the_same_way() -> None:
    (command,) = [line for line in stages()["app"] if line.startswith("CMD ")]
    in_the_image = json.loads(command.removeprefix("CMD "))

    assert in_the_image[:2] == ["python", "-m"]
    assert set(without_places(in_the_image[2:])) == set(without_places(PROGRAMS["web"]))


def test_workers_and_beat_run_by_the_same_commands() -> None:
    for name in ("worker-ai", "worker-default", "worker-media", "beat"):
        command = services()[name]["command"]
        assert command[:2] == ["python", "-m"]
        assert without_places(command[2:]) == without_places(PROGRAMS[name]), name


def test_every_queue_that_has_a_task_is_consumed_on_one_machine_too() -> None:
    consumed = [
        queue for words in PROGRAMS.values() if "-Q" in words for queue in deployment.option(words, "-Q").split(",")
    ]

    assert len(consumed) == len(set(consumed))
    assert {policy.queue for policy in POLICIES.values()} <= set(consumed)
    assert set(consumed) <= {queue for worker in workers().values() for queue in worker["queues"]}
