"""docker-compose.yml and the Dockerfile, read for the contracts."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z0-9_]+)(?P<how>:?[-?+])?(?P<rest>[^}]*)\}")


@cache
def compose() -> dict[str, Any]:
    """The file with its anchors resolved and its variables as they are written."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def our_services() -> dict[str, dict[str, Any]]:
    """Those that run our own code and stay: web, workers, beat, Flower."""
    ours = {name: one for name, one in services().items() if one.get("build", {}).get("target") == "app"}
    return {name: one for name, one in ours.items() if one["restart"] != "no"}


def option(command: list[str], flag: str) -> str:
    """The word after `flag`. Raises ValueError if it is not there."""
    return command[command.index(flag) + 1]


def workers() -> dict[str, dict[str, Any]]:
    """Of each service that runs a Celery worker: its queues, its pool, and how many tasks it takes at once."""
    found = {}
    for name, service in services().items():
        command = service.get("command", [])
        if "worker" in command:
            found[name] = {
                "queues": option(command, "-Q").split(","),
                "pool": option(command, "-P"),
                "at_once": int(option(command, "-c")),
            }
    return found


def variables() -> list[re.Match[str]]:
    """Each ${...} that the operator fills in."""
    return list(VARIABLE.finditer(COMPOSE.read_text()))


def stages() -> dict[str, list[str]]:
    """The Dockerfile's instructions, with their continued lines joined, by the name of their stage."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("FROM "):
            found[line.split(" AS ")[1].strip()] = []
        found[next(reversed(found))].append(line)
    return found
