"""What STYLE and DESIGN say of every file, where no linter says it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.contracts.deployment import ROOT

PRODUCT = ["core", "web", "workers", "cli", "migrations"]
OURS = [*PRODUCT, "sandbox", "bench", "tests"]
MOST_LINES = 400
WRITTEN = {".py", ".js", ".css", ".html", ".yml", ".sh", ".txt", ".toml", ".ini"}
VENDORS = {  # DESIGN.md 3: a vendor's SDK is imported by one file, so that its ways stay there
    "openai": {"core/consultations/model_api.py"},
    "stripe": {"core/billing/stripe_api.py"},
    "aiosmtplib": {"core/mail/smtp.py"},
    "argon2": {"core/accounts/passwords.py"},
    "zxcvbn": {"core/accounts/strength.py"},
    "cryptography": {"core/sealing.py"},
    "azure": {"core/vault.py", "core/media/blobs.py"},  # an SDK each
    "PIL": {"core/media/pictures.py"},
    "pyotp": {"core/accounts/factors/totp.py"},
    "segno": {"core/accounts/factors/totp.py"},
    "webauthn": {"core/accounts/factors/webauthn_api.py"},
}


# By celery, quart, pydantic[email] and openai, whose parts they are.
BROUGHT = {"kombu", "werkzeug", "email-validator", "httpx2"}


def plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if ".venv" not in path.parts)
    yield from ROOT.glob("*.py")


def imported_by(path: Path) -> set[str]:
    """The top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_of_ours_is_longer_than_one_can_hold_in_mind() -> None:
    files = [path for folder in [*OURS, "deploy", "docs"] for path in (ROOT / folder).rglob("*") if path.is_file()]
    written = [path for path in files if path.suffix in WRITTEN and ".venv" not in path.parts]
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in [*written, *ROOT.glob("*.py")]}

    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendors_sdk_is_known_to_one_file(vendor: str) -> None:
    importers = {name_of(path) for path in python_files(*PRODUCT) if vendor in imported_by(path)}

    assert importers == VENDORS[vendor]


def test_celery_is_known_to_the_producer_and_the_workers() -> None:
    importers = {name_of(path) for path in python_files(*PRODUCT) if {"celery", "kombu"} & imported_by(path)}

    assert {name for name in importers if not name.startswith("workers/")} == {"core/queue.py"}


def test_the_product_imports_only_what_production_installs() -> None:
    """The image has neither the sandbox's packages nor the tests'; a module that needs one would fail at its start."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = {plain(re.split(r"[\[=<>!~ ]", line)[0]) for line in declared} | BROUGHT
    distributions = packages_distributions()
    stray = {}
    for path in python_files(*PRODUCT):
        for name in imported_by(path) - set(sys.stdlib_module_names) - set(PRODUCT) - {"beat_schedule"}:
            if not {plain(one) for one in distributions.get(name, [name])} & installed:
                stray[name_of(path)] = name

    assert stray == {}


def test_every_rule_that_is_ignored_has_its_reason_on_the_line() -> None:
    """For the type checker its code is enough: "no-untyped-call" says that a library has no types."""
    silent = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore)\s*$")
    found = [
        f"{name_of(path)}:{number}"
        for path in python_files(*OURS)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if silent.search(line)
    ]

    assert found == []
