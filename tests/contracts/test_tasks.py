"""Names, policies, queues, workers and beat say the same."""

import ast
import inspect
import subprocess
import sys

import pytest

import beat_schedule
from core.errors import Kind
from core.queue import POLICIES, TICK, Queue, TaskName, celery
from tests.contracts.deployment import ROOT, services
from tests.house import House
from web.errors import STATUS

pytestmark = pytest.mark.usefixtures("house")  # Celery's application reads the settings


def registered() -> set[str]:
    """The tasks that a worker knows, Celery's own apart."""
    import workers.app

    return {name for name in workers.app.app.tasks if not name.startswith("celery.")}


def test_every_task_has_a_policy_with_a_queue() -> None:
    assert set(POLICIES) == set(TaskName)
    for name, policy in POLICIES.items():
        assert policy.queue in Queue, name
        assert policy.attempts >= 1, name
        assert 0 < policy.backoff <= policy.backoff_cap, name


def test_every_task_is_sent_to_the_queue_of_its_policy() -> None:
    router = celery().amqp.router

    for name, policy in POLICIES.items():
        assert router.route({}, name)["queue"].name == policy.queue


def test_every_task_has_a_worker_and_every_worker_a_task() -> None:
    assert registered() == {*TaskName}


def test_no_task_of_a_worker_is_a_bare_coroutine_function() -> None:
    """Celery 5.7 reports success for one without ever running its body (requirements/celery.md 3)."""
    import workers.app

    bare = {name for name, task in workers.app.app.tasks.items() if inspect.iscoroutinefunction(task.run)}

    assert bare == set()


def test_every_task_has_a_time_that_is_below_the_visibility_timeout() -> None:
    """A longer one would be delivered again while it runs."""
    import workers.app  # noqa: F401  # fills the table of tasks
    from workers.runtime import TASKS

    visible = celery().conf.broker_transport_options["visibility_timeout"]

    assert set(TASKS) == set(TaskName)
    assert {name for name, task in TASKS.items() if not 0 < task.time_allowed.total_seconds() < visible} == set()


def test_beat_names_known_tasks_and_the_queue_of_each() -> None:
    for name, entry in beat_schedule.BEAT_SCHEDULE.items():
        policy = POLICIES[TaskName(entry["task"])]
        assert entry["options"]["queue"] == policy.queue, name
        assert entry["args"] == [f"{TICK}{entry['schedule']}"], name  # the slot that its job is named for
        assert entry["options"]["expires"] <= entry["schedule"], name  # a backlog is not replayed


def test_beat_knows_nothing_of_ours_but_the_names() -> None:
    tree = ast.parse((ROOT / "beat_schedule.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}

    assert {module for module in modules if module != "typing"} == {"core.queue"}


def test_a_worker_has_drained_before_it_is_killed() -> None:
    workers = [service for service in services().values() if "worker" in service.get("command", [])]

    assert workers
    for worker in workers:
        grace = worker["stop_grace_period"]
        seconds = int(grace[:-1]) * (60 if grace.endswith("m") else 1)
        assert seconds >= float(worker["environment"]["CLOFY_DRAIN_SECONDS"]) + 10  # to give back, close and leave


def test_every_kind_of_error_has_a_status() -> None:
    assert set(STATUS) == set(Kind)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize("process", ["web.app", "workers.app"])
def test_each_process_that_ends_jobs_knows_what_is_to_be_undone_then(house: House, process: str) -> None:
    """In a process of its own: this one has imported everything."""
    check = f"import {process}; from core.jobs import refuse_unknown_ends; refuse_unknown_ends()"

    subprocess.run([sys.executable, "-c", check], cwd=ROOT, env=house.environ, check=True)


def test_a_process_that_does_not_know_it_does_not_start(house: House) -> None:
    check = "import core.jobs; core.jobs.refuse_unknown_ends()"

    ended = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, env=house.environ, capture_output=True, text=True, check=False
    )

    assert ended.returncode
    assert "consultations.answer" in ended.stderr
