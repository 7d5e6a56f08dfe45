"""The image is small, not root's, and built from the lock file alone."""

import json
import re
from pathlib import Path

from tests.contracts import deployment
from tests.contracts.deployment import DOCKERFILE, ROOT, compose, services, stages

UV = re.compile(r"uv==(\d+\.\d+\.\d+)")


def base_of(stage: str) -> str:
    """The image that a stage begins with, through our own stages."""
    image = stages()[stage][0].split()[1]
    return base_of(image) if image in stages() else image


def user_of(stage: str) -> str:
    users = [line.split()[1] for line in stages()[stage] if line.startswith("USER ")]
    parent = stages()[stage][0].split()[1]
    return users[-1] if users else user_of(parent) if parent in stages() else "root"


def test_every_target_of_the_compose_file_is_a_stage_that_does_not_run_as_root() -> None:
    targets = {service["build"]["target"] for service in services().values() if "build" in service}

    assert targets <= set(stages())
    assert {user_of(target) for target in targets} == {"10001:10001", "node"}


def test_the_image_is_made_in_stages_and_takes_no_build_tool_along() -> None:
    app = stages()["app"]

    assert (
        base_of("app") == base_of("build") == "python:3.11-slim-bookworm"
    )  # the venv's interpreter is at the same place
    assert not any(line.startswith("RUN") for line in app)
    assert not re.search(r"apt-get|build-essential|gcc", DOCKERFILE.read_text())
    assert any("pip uninstall" in line for line in stages()["runtime"])


def test_packages_come_from_the_lock_file_without_those_for_tests() -> None:
    syncs = {name: [line for line in lines if "uv sync" in line] for name, lines in stages().items()}

    assert all("--frozen --no-default-groups" in line for lines in syncs.values() for line in lines)
    assert "--group" not in syncs["build"][0]
    assert any(line.startswith("COPY --from=build /opt/clofy") for line in stages()["app"])


def test_the_emulator_of_the_storage_comes_from_its_lock_file_too() -> None:
    packages = json.loads((ROOT / "sandbox/npm/package-lock.json").read_text())["packages"]
    commands = [line for line in stages()["azurite"] if "npm" in line]

    assert commands[0] == "COPY sandbox/npm ./"
    assert [line.split("&&")[0].split()[1:4] for line in commands[1:]] == [["npm", "ci", "--ignore-scripts"]]
    assert all("integrity" in one for path, one in packages.items() if path)


def test_uv_is_the_same_everywhere() -> None:
    versions = {path: set(UV.findall((ROOT / path).read_text())) for path in ("Dockerfile", "Makefile")}

    assert len(versions["Dockerfile"]) == 1
    assert versions["Makefile"] == versions["Dockerfile"]


def test_the_image_holds_the_product_and_nothing_of_the_sandbox_or_the_tests() -> None:
    copied = {word for line in stages()["app"] if line.startswith("COPY ") for word in line.split()[1:-1]}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"sandbox", "tests", "bench"}

    assert packages <= copied
    assert not {"sandbox", "tests", "bench", "."} & copied
    for name in copied - {"--from=build", "/opt/clofy"}:
        assert (ROOT / name).exists(), name


def test_the_context_of_the_build_is_a_list_of_what_goes_in() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    copied = {
        word
        for stage in stages().values()
        for line in stage
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }

    assert lines[0] == "*"
    assert let_in == copied


def test_the_web_server_keeps_to_the_limits_of_the_design() -> None:
    (command,) = [line for line in stages()["app"] if line.startswith("CMD ")]

    for words in (
        '"--ws-max-size", "65536"',
        '"--ws-per-message-deflate", "false"',
        '"--no-server-header"',
        '"--loop", "uvloop"',
        '"--http", "web.heads:BoundedHeads"',
    ):
        assert words in command
    grace = int(re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', command)[0])
    assert grace < int(services()["web"]["stop_grace_period"].rstrip("s"))


def test_files_that_compose_mounts_are_there() -> None:
    mounted = [
        Path(entry.split(":")[0])
        for service in services().values()
        for entry in service.get("volumes", [])
        if entry.startswith("./")
    ]

    assert mounted
    assert all((ROOT / path).is_file() for path in mounted)
    assert deployment.COMPOSE.name == "docker-compose.yml"
    assert compose()["name"] == "clofy-cloud"
