"""Where a picture is worked on: by a program in a process of its own, with bounds (core/media/pictures.py)."""

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from core.errors import ClofyError
from core.errors import Kind as ErrorKind
from core.media.kinds import HEAD, Reason, kind_of_content, kind_of_name

PROGRAM = Path(__file__).with_name("pictures.py")
SECONDS = 120  # by the clock on the wall; what it may compute is less (core/media/pictures.py)


class Refused(ClofyError):
    """This picture cannot be taken."""

    kind = ErrorKind.INVALID

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class WorkshopFailed(Exception):
    """The program ended in a way that is our own fault; its last words are the message."""


@dataclass(frozen=True)
class File:
    name: str  # the hash of the content, and the encoding as extension
    width: int
    height: int
    size: int  # bytes


@dataclass(frozen=True)
class Made:
    """width, height: of the largest file. colour: as "#rrggbb"."""

    width: int
    height: int
    colour: str
    files: list[File]


async def work(path: Path, *, name: str, directory: Path) -> Made:
    """Turn what somebody sent into clean pictures of several widths. Raises Refused.

    name: as it was sent, for its extension
    directory: where the files go
    """
    with path.open("rb") as file:
        kind = kind_of_content(file.read(HEAD))
    if kind is None:
        raise Refused(Reason.NOT_A_PICTURE)
    if kind is not kind_of_name(name):
        raise Refused(Reason.OTHER_THAN_ITS_NAME)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", PROGRAM, kind, path, directory),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},  # nothing of ours
    )
    try:
        async with asyncio.timeout(SECONDS):
            told, complaint = await program.communicate()
    except TimeoutError:
        raise Refused(Reason.TOO_HEAVY) from None
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    if program.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise Refused(Reason.TOO_HEAVY)
    if program.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE):
        raise Refused(Reason.BROKEN)
    if program.returncode:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        if last and last[0].startswith("MemoryError"):
            raise Refused(Reason.TOO_HEAVY)
        raise WorkshopFailed(*last)
    facts = orjson.loads(told)
    if "refused" in facts:
        raise Refused(Reason(facts["refused"]))
    files = [File(**one) for one in facts["files"]]
    return Made(facts["width"], facts["height"], facts["colour"], files)
