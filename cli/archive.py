"""Read the archive, and see whether it is as it was written: `python -m cli archive show`."""

import argparse
import sys
from datetime import date

from core.media import blobs
from core.privacy import archive


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verbs = commands.add_parser("archive", help="what was done on each day").add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("show", help="list the days, or print one")
    show.add_argument("--day", type=date.fromisoformat, metavar="DAY", help="print this day's lines")
    show.add_argument("--verify", action="store_true", help="see whether each line follows the one before")


async def run(given: argparse.Namespace) -> int:
    """Returns the exit code: 1 when something does not fit. Raises NoSuchBlob, StorageAway, NoStorage."""
    try:
        if given.day is not None:
            async for line in archive.lines_of(given.day):
                print(line.decode())
        elif not given.verify:
            for day in await archive.days():
                print(day)
        return await _verified() if given.verify else 0
    finally:
        await blobs.close()


async def _verified() -> int:
    flaws = [one async for one in archive.verify()]
    for one in flaws:
        print("WRONG", f"{one.day} line {one.line}" if one.line else str(one.day), one.what, sep="\t", file=sys.stderr)
    if not flaws:
        print("ok", "each line follows the one before", sep="\t", file=sys.stderr)
    return 1 if flaws else 0
