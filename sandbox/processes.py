"""Child processes that never outlive what started them, and ports that nobody else has."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

SET_PDEATHSIG = 1  # linux/prctl.h


class SandboxError(Exception):
    """Something that a person can put right; its text is the one sentence that they are told."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tied_to_parent(last_signal: signal.Signals) -> Callable[[], None] | None:
    """What a child runs before exec, so that the kernel sends it `last_signal` when its parent dies, even by SIGKILL.

    The kernel watches the *thread* that forked: start children from the main thread. Linux only;
    elsewhere a killed parent leaves its children to be ended by hand.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def tie() -> None:
        prctl(SET_PDEATHSIG, int(last_signal))
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return tie


class StartsAndStops(ABC):
    """`with` it: started inside, and stopped at the end, also when the start was only half done."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Child(StartsAndStops):
    """One process with its own session and log file; started and stopped as often as one likes."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals | None = None,
    ) -> None:
        self.name, self.command, self.log = name, list(command), log
        self.environ, self.directory, self.user, self.stop_signal = environ, directory, user, stop_signal
        self.orphan_signal = orphan_signal or stop_signal  # what it gets if we are killed
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = False

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it; its output is added to the log."""
        self.asked = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if self.environ is None else dict(self.environ),
                cwd=self.directory,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
                preexec_fn=tied_to_parent(self.orphan_signal),  # noqa: PLW1509  # calls only into the kernel
            )

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 30) -> None:
        """Return as soon as `ready`. A child that ends before or takes longer is a SandboxError."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise self.has_ended()
            if time.monotonic() > deadline:
                self.stop(seconds=2)
                raise SandboxError(f"{self.name} was not ready after {seconds:.0f} s. {self.last_words()}")
            time.sleep(0.01)  # another process's readiness has no event to await

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it started; nothing if it has ended."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def ask_to_stop(self) -> None:
        """Send its stop signal, to it alone, and do not wait. It may be asked more than once."""
        if self.process is not None and self.running and not self.asked:
            self.asked = True  # a second SIGTERM would make a Celery worker drop what it is finishing
            self.process.send_signal(signal.SIGCONT)  # a test may have frozen it
            self.process.send_signal(self.stop_signal)

    def stop(self, *, seconds: float = 5) -> None:
        """End it, by force after `seconds`; returns when it is gone. A second call does nothing."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()

    def how_it_ended(self) -> str:
        assert self.process is not None
        code = self.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def has_ended(self) -> SandboxError:
        """The error to raise when it has, before it was ready."""
        return SandboxError(f"{self.name} ended while it started ({self.how_it_ended()}). {self.last_words(15)}")

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for a person."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"Its log, {self.log}, ends with:\n" + "\n".join(text.splitlines()[-lines:])
