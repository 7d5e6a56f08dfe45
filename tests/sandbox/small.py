"""A sandbox of which the product is a few trivial processes: `python -m tests.sandbox.small [a step that fails]`."""

import os
import sys

from sandbox.machine import Machine
from sandbox.processes import SandboxError
from sandbox.programs import Program
from sandbox.supervisor import Supervisor


def main() -> int:
    port = int(os.environ["SMALL_PORT"])
    machine = Machine()
    programs = [
        Program("web", ["http.server", str(port), "--bind", "127.0.0.1"], url=f"http://127.0.0.1:{port}/"),
        Program(
            "worker",
            ["tests.sandbox.stubborn", *os.environ.get("SMALL_MANNERS", "polite").split()],
            alive_file=machine.path("worker.alive"),
        ),
    ]
    steps = [Program("first-step", sys.argv[1:] or ["this"])]
    try:
        Supervisor(machine, programs=programs, steps=steps).run()
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
