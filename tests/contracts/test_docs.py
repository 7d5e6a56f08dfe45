"""What is written for people names what there is, all of it and nothing else."""

import ast
import re
from pathlib import Path

from core.settings import Settings
from tests.contracts.deployment import ROOT, services
from tests.contracts.test_house import PRODUCT, name_of, python_files

README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
MAKEFILE = ROOT / "Makefile"
CI = ROOT / ".ci" / "run"
ALARMS = {"warning", "error", "exception", "critical"}
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def targets() -> dict[str, str]:
    """The Makefile's words, each with its recipe."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=[a-z][\w-]*:)", MAKEFILE.read_text()):
        if match := re.match(r"([a-z][\w-]*):", block):
            found[match[1]] = block
    return found


def alarms() -> dict[str, set[str]]:
    """Each event that the product logs as worth a look, with its levels."""
    found: dict[str, set[str]] = {}
    for path in python_files(*PRODUCT):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ALARMS:
                assert node.args, f"{name_of(path)}:{node.lineno} logs nothing"
                event = node.args[0]
                assert isinstance(event, ast.Constant), f"{name_of(path)}:{node.lineno} has no constant name"
                level = "error" if node.func.attr == "exception" else node.func.attr
                found.setdefault(str(event.value), set()).add(level)
    return found


def test_every_setting_is_in_the_readme_and_nothing_else_is() -> None:
    documented = re.findall(r"^\| `CLOFY_(\w+)` \|", README, re.MULTILINE)

    assert {name.lower() for name in documented} == set(Settings.model_fields)
    assert len(documented) == len(set(documented))


def test_every_word_of_the_readme_is_one_of_the_makefile() -> None:
    words = set(re.findall(r"`make ([a-z-]+)", README))

    assert {"up", "test", "tour", "check", "bench"} <= words
    assert words <= set(targets())


def test_ci_runs_the_test_command_of_the_readme_and_ends_with_it() -> None:
    lines = [line for line in CI.read_text().splitlines() if line.strip() and not line.startswith("#")]

    assert lines[0] == "set -euo pipefail"
    assert lines[-1] == "make test"
    assert sum(line.strip().startswith("make ") for line in lines) == 1
    assert CI.stat().st_mode & 0o111


def test_one_word_proves_everything() -> None:
    check, test = targets()["check"], targets()["test"]

    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "alembic check"):
        assert tool in check, tool
    assert re.match(r"test:.*\bcheck\b", test)
    assert "pytest" in test


def test_every_alarm_in_the_log_is_explained_with_its_level() -> None:
    explained = dict(re.findall(r"^\| `(\w+)` \| (warning|error|critical) \|", OPERATIONS, re.MULTILINE))

    assert {event: {level} for event, level in explained.items()} == alarms()


def test_the_map_of_the_house_names_every_room() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"migrations", "deploy"}
    slices = {path.parent.name for path in ROOT.glob("core/*/__init__.py")}

    assert {room for room in rooms if not re.search(rf"^{room}/ ", README, re.MULTILINE)} == set()
    assert {one for one in slices if f" {one}/" not in README} == set()


def test_the_table_of_processes_has_every_service_of_ours() -> None:
    listed = set(re.findall(r"^\| ([\w-]+) \|", OPERATIONS, re.MULTILINE))

    assert {"web", "worker-ai", "worker-default", "worker-media", "beat", "flower"} <= listed & set(services())


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{name_of(document)}: {link}"
        for document in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text())
        if not (document.parent / Path(link)).exists()
    ]

    assert broken == []


def test_each_decision_has_a_number_of_its_own_and_says_it() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [record.name.partition("-")[0] for record in records]

    assert [record.read_text().partition(" ")[2].partition(" ")[0] for record in records] == numbers
    assert len(set(numbers)) == len(numbers)
