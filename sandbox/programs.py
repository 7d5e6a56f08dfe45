"""Which processes of the product run in the sandbox, as data. A new worker group is one entry."""

import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.ports import answers


@dataclass(frozen=True)
class Program:
    """A process, and when it is ready: as soon as it runs, unless one of these says more.

    url: it answers there with a 2xx, itself and not a stranger on its port
    alive_file: it has touched this file, of which it is told as CLOFY_ALIVE_FILE
    """

    name: str
    arguments: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    alive_file: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", *self.arguments]

    @property
    def told(self) -> dict[str, str]:
        """Its own settings, and which part of the house it is, so that it uses its own secrets alone."""
        return {"CLOFY_PART": self.name, **self.environ}

    def is_ready(self, pid: int) -> bool:
        """Whether it is, being the process `pid`."""
        touched = self.alive_file is None or self.alive_file.exists()
        return touched and (self.url is None or answers(self.url, pid))


def first_steps() -> list[Program]:
    """What is run to its end before anything serves."""
    return [
        Program("migrate", ["alembic", "upgrade", "head"]),
        Program("seed", ["cli", "seed"]),
    ]


def product(*, web_port: int, flower_port: int, flower_password: str, directory: Path) -> list[Program]:
    """Web, one Celery worker a group of queues, beat, Flower; the same commands as docker-compose.yml."""
    celery = ["celery", "-A", "workers.app"]
    return [
        Program("web", web(web_port), url=f"http://127.0.0.1:{web_port}/readyz"),
        Program(
            "worker-ai",
            [*celery, "worker", "-P", "threads", "-c", "500", "-Q", "ai", "-n", "ai@%h"],
            alive_file=directory / "worker-ai.alive",
        ),
        Program(
            "worker-default",
            [*celery, "worker", "-P", "threads", "-c", "32", "-Q", "mail,billing,upkeep", "-n", "default@%h"],
            alive_file=directory / "worker-default.alive",
        ),
        Program(
            "worker-media", [*celery, "worker", "-P", "prefork", "-c", "2", "-Q", "media", "-n", "media@%h"]
        ),  # its parent has no heart that beats
        Program("beat", [*celery, "beat", "--schedule", str(directory / "beat-schedule"), "--pidfile="]),
        Program(
            "flower",
            [*celery, "flower", "--address=127.0.0.1", f"--port={flower_port}", "--persistent=False"],
            environ={"FLOWER_BASIC_AUTH": f"admin:{flower_password}"},  # not an argument, which all users could read
            url=f"http://127.0.0.1:{flower_port}/healthcheck",
            stop_signal=signal.SIGKILL,  # on others it waits for its threads, minutes; it has nothing to lose
        ),
    ]


def web(port: int) -> list[str]:
    server = ["uvicorn", "--factory", "web.app:create_app", "--host", "127.0.0.1", "--port", str(port)]
    parts = ["--loop", "uvloop", "--http", "web.heads:BoundedHeads", "--ws", "websockets-sansio"]
    limits = ["--ws-max-size", "65536", "--ws-per-message-deflate", "false", "--timeout-graceful-shutdown", "5"]
    # Who a caller is, is read from the connection: without --no-proxy-headers uvicorn would believe X-Forwarded-For.
    return [*server, *parts, *limits, "--no-proxy-headers", "--no-server-header", "--no-access-log"]
