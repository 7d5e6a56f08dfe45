"""docker-compose.yml keeps to the specification, to core/queue.py and to what production asks of itself."""

import re
import subprocess
import sys
from typing import Any

import pytest

from core.database import POOL_SIZE
from core.direct import DIRECT_SIZE
from core.queue import POLICIES, Queue
from core.settings import NEEDS, SETTING_OF, Environment, Secret, Settings
from tests.contracts import deployment
from tests.contracts.deployment import COMPOSE, ROOT, compose, our_services, services, workers

SECRETS = {
    *(f"CLOFY_{name}".upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)),
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "FLOWER_BASIC_AUTH",
    "CLOFY_SMTP_URL",  # it holds a password
} - {"CLOFY_VAULT_TOKEN", "CLOFY_BLOB_CONNECTION_STRING"}  # the sandbox's; empty, and refused in production


# With a vault these are empty; without one, the start of each process refuses that (core/settings.py).
IN_A_VAULT = {f"CLOFY_{SETTING_OF[secret].upper()}" for secret in Secret} - {"CLOFY_SMTP_URL"}


def test_the_file_keeps_to_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_services_are_those_of_the_design() -> None:
    design = {"web", "worker-ai", "worker-default", "worker-media", "beat", "flower", "postgres", "redis", "azurite"}

    assert design <= set(services())


def test_each_queue_is_consumed_by_one_service_in_the_right_pool() -> None:
    consumers = {queue: [name for name, worker in workers().items() if queue in worker["queues"]] for queue in Queue}

    assert {queue: len(names) for queue, names in consumers.items()} == dict.fromkeys(Queue, 1)
    assert {workers()[names[0]]["pool"] for queue, names in consumers.items() if queue is not Queue.MEDIA} == {
        "threads"
    }
    assert workers()[consumers[Queue.MEDIA][0]]["pool"] == "prefork"  # pictures cost the processor
    assert workers()[consumers[Queue.AI][0]]["queues"] == [
        Queue.AI
    ]  # nothing waits behind an answer, nor it behind others


def test_no_worker_consumes_a_queue_that_nobody_rings() -> None:
    consumed = {queue for worker in workers().values() for queue in worker["queues"]}

    assert consumed == set(Queue)
    assert {policy.queue for policy in POLICIES.values()} <= consumed


def names_used(service: dict[str, Any], kind: str) -> set[str]:
    entries = [entry.split(":")[0] for entry in service.get(kind, [])]
    return {entry for entry in entries if not entry.startswith((".", "/"))}


@pytest.mark.parametrize("kind", ["networks", "volumes"])
def test_what_a_service_uses_is_declared_and_what_is_declared_is_used(kind: str) -> None:
    used = {name for service in services().values() for name in names_used(service, kind)}

    assert used == set(compose()[kind])


def test_a_service_waits_only_for_what_can_come() -> None:
    for name, service in services().items():
        for other, wait in service.get("depends_on", {}).items():
            awaited = services()[other]
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in awaited, f"{name} waits for the health of {other}"
            else:
                assert (wait["condition"], awaited["restart"]) == ("service_completed_successfully", "no")
            assert "profiles" not in awaited, f"{name} waits for {other}, which a plain `up` does not start"


def test_our_code_starts_on_a_migrated_database_and_a_healthy_redis() -> None:
    for service in our_services().values():
        assert {"migrate", "postgres", "redis"} <= set(service["depends_on"])
    assert "python -m alembic upgrade head && exec python -m cli seed" in services()["migrate"]["command"]


def test_every_service_that_stays_tells_whether_it_is_well() -> None:
    silent = {name for name, one in services().items() if one["restart"] != "no" and "healthcheck" not in one}

    assert silent == set()


def test_every_service_is_confined() -> None:
    for name, service in services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
    as_root = {name for name, service in services().items() if service["user"].startswith("0:")}
    assert as_root == {"certificates"}  # gives each key to the one user that reads it, then ends
    assert [name for name, service in services().items() if "cap_add" in service] == ["certificates"]


def test_few_are_reached_from_outside_and_only_from_this_machine_unless_told() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert ports == {
        "web": ["${WEB_BIND:-127.0.0.1:8000}:8000"],
        "flower": ["127.0.0.1:5555:5555"],
        "stand-ins": ["127.0.0.1:9000:9000"],
    }
    assert compose()["networks"]["back"] == {"internal": True}
    assert services()["postgres"]["networks"] == services()["redis"]["networks"] == ["back"]
    assert services()["flower"]["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")


def test_no_secret_has_a_default() -> None:
    given = {match["name"]: match["how"] for match in deployment.variables()}

    assert set(given) >= SECRETS
    assert {name for name in SECRETS if given[name] != ":?"} == IN_A_VAULT
    assert {given[name] for name in IN_A_VAULT} == {"?"}  # it must be said, if only that it is empty


def test_every_setting_reaches_our_code() -> None:
    names = {f"CLOFY_{name.upper()}" for name in Settings.model_fields}

    for name, service in our_services().items():
        assert names <= set(service["environment"]), name


def test_the_file_that_an_operator_fills_in_names_what_is_asked_for() -> None:
    example = (ROOT / "deploy" / "compose.env.example").read_text()
    to_fill_in = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    with_default = set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE))

    assert to_fill_in == {match["name"] for match in deployment.variables() if match["how"] in (":?", "?")}
    assert with_default == {match["name"] for match in deployment.variables() if match["how"] == ":-"}


def test_the_addresses_in_it_are_fit_for_production(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "CLOFY_PUBLIC_URL": "https://clofy.example.org",
        "CLOFY_OPENAI_ENDPOINT": "https://clofy.openai.azure.com",
        "CLOFY_SMTP_URL": "smtps://clofy:7d1f0c@mail.example.org:465",
        "CLOFY_FIELD_KEY": "5b0f7c1e9a3d4826" * 4,
        "CLOFY_SNAPSHOT_KEY": "2d0e9c4b7f6a1835" * 4,
    }

    def filled_in(match: re.Match[str]) -> str:
        return match["rest"] if match["how"] == ":-" else answers.get(match["name"], "5b0f7c1e9a3d" * 4)

    for part, service in {"all": services()["migrate"], **our_services()}.items():
        for name, value in service["environment"].items():
            monkeypatch.setenv(name, deployment.VARIABLE.sub(filled_in, value))

        settings = Settings(_env_file=None)  # raises if any of it is in the clear, unverified or weak

        assert settings.environment is Environment.PRODUCTION
        assert settings.part == part
        assert "ssl_cert_reqs=required" in settings.redis_url
        has = {secret for secret in Secret if settings.given(secret) != ("",)}
        assert has == settings.needed == NEEDS[settings.part], f"{part} has other secrets than its own"


def test_an_image_is_ours_or_of_a_stated_version() -> None:
    for name, service in services().items():
        _, _, tag = service["image"].partition(":")
        assert "build" in service or re.fullmatch(r"\d+(\.\d+)?(-[a-z]+)?", tag), f"{name}: {service['image']}"


def test_all_processes_together_stay_below_the_connections_that_postgres_takes() -> None:
    settings = [word.split("=") for word in services()["postgres"]["command"] if "=" in word]
    most = int(dict(settings)["max_connections"])
    processes = sum(
        1 + (workers()[name]["at_once"] if name in workers() and workers()[name]["pool"] == "prefork" else 0)
        for name in our_services()
    )

    listening = 1  # core/endings.py
    assert processes * (POOL_SIZE + DIRECT_SIZE + listening) <= most - 20  # for migrations, backups and people


def test_a_worker_has_time_to_drain_and_files_for_its_streams() -> None:
    def seconds(text: str) -> int:
        number, unit = re.fullmatch(r"(\d+)([sm])", text).groups()  # type: ignore[union-attr]  # no match fails the test
        return int(number) * {"s": 1, "m": 60}[unit]

    for name in workers():
        assert seconds(services()[name]["stop_grace_period"]) >= 45, name
    for name in ("web", "worker-ai"):
        assert services()[name]["ulimits"]["nofile"] >= 65536, name


def test_beat_is_one_and_keeps_its_schedule_on_a_volume() -> None:
    beats = [name for name, service in services().items() if "beat" in service.get("command", [])]
    command = services()["beat"]["command"]
    folders = [entry.split(":")[1] for entry in services()["beat"]["volumes"] if not entry.endswith(":ro")]

    assert beats == ["beat"]
    assert not any("-B" in service.get("command", []) for service in services().values())
    assert services()["beat"]["deploy"]["replicas"] == 1
    assert [deployment.option(command, "--schedule").startswith(folder + "/") for folder in folders] == [True]


def test_redis_never_evicts_and_writes_down_what_it_holds() -> None:
    command = " ".join(services()["redis"]["command"])

    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes --appendfsync everysec" in command


def test_the_stand_ins_stay_out_of_a_plain_start() -> None:
    apart = {name for name, service in services().items() if service.get("profiles") == ["sandbox"]}

    assert apart == {"openai", "stand-ins", "azurite"}
