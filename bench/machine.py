"""What the machine does meanwhile: CPU by process, memory, and whoever else is at work."""

import os
import platform
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

FRONT, BEHIND = 0, 1  # cores: client and stand-in; everything behind the port
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
LIBRARIES = ("quart", "uvicorn", "celery", "sqlalchemy", "asyncpg", "redis", "openai", "websockets", "uvloop")


def pin(pid: int, core: int) -> None:
    """Keep a process, its threads and its children on one core; what they start later stays there too."""
    for member in tree(pid):
        for thread in _listed(PROC / str(member) / "task"):
            os.sched_setaffinity(int(thread), {core})


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in _listed(PROC):
        if name.isdigit() and (fields := _stat(int(name))):
            children[int(fields[1])].append(int(name))
    found = [pid]
    for one in found:
        found += children[one]
    return found


def cpu_ns(pid: int) -> int:
    """Time on a processor, of the whole tree, with its threads and children that have ended. In steps of a tick, 10 ms.

    /proc/*/schedstat counts in nanoseconds, but forgets what a thread took when it ends; LiteLLM's do.
    """
    stats = [fields for member in tree(pid) if (fields := _stat(member))]
    return TICK_NS * sum(int(field) for fields in stats for field in fields[11:15])


def pss_kib(pid: int) -> int:
    """Memory, with what is shared counted once over its sharers."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@dataclass(frozen=True)
class Busy:
    """Of all cores, in nanoseconds since the start."""

    working: int
    stolen: int
    wall: int

    @classmethod
    def now(cls) -> "Busy":
        user, nice, system, idle, wait, irq, soft, steal = (
            int(field) * TICK_NS for field in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]
        )
        working = user + nice + system + irq + soft
        return cls(working, steal, working + steal + idle + wait)


def facts() -> dict[str, object]:
    """Of this machine and its programs, for the report."""
    cpu = next(line for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "cpu": cpu.split(":")[1].strip(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+" if _git("status", "--porcelain", "core", "web", "workers") else ""),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


def _listed(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    """The fields after the name: state, parent, ...; from 11 on ticks: user, kernel, those of ended children."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
