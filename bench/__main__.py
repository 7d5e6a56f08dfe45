"""`make bench`: measure, print the tables, write bench/results/; with QUICK=1 in a few minutes."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import uvloop

from bench import accounts, blog, crediting, export, purge, statements, streams, ttft, uploads
from bench.figures import rounded
from bench.machine import FRONT

RESULTS = Path(__file__).parent / "results"
PARTS = {
    "ttft": ttft,
    "streams": streams,
    "statements": statements,
    "crediting": crediting,
    "blog": blog,
    "accounts": accounts,
    "export": export,
    "purge": purge,
    "uploads": uploads,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them, if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds; written to quick-*.json")
    given = parser.parse_args()
    os.sched_setaffinity(0, {FRONT})
    RESULTS.mkdir(exist_ok=True)
    for name in given.parts or PARTS:
        seen: dict[str, Any] = uvloop.run(PARTS[name].measure(quick=given.quick))
        print(f"\n{PARTS[name].show(seen)}\n", flush=True)
        written = RESULTS / f"{'quick-' if given.quick else ''}{name}.json"
        written.write_text(json.dumps(rounded(seen), indent=1) + "\n")
        print(f"written to {written}", flush=True)


if __name__ == "__main__":
    main()
