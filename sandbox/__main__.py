"""python -m sandbox up                         the cloud on one machine, until Ctrl-C
python -m sandbox tour [--state FILE]         walk the whole journey, in a fresh sandbox or in that of a state.json
python -m sandbox with-postgres -- COMMAND    run a command with an empty PostgreSQL"""

import signal
import subprocess
import sys
from pathlib import Path

from sandbox.machine import Machine, make_secrets
from sandbox.postgres import Postgres
from sandbox.processes import SandboxError
from sandbox.reach import scratch_directory


def up() -> int:
    from sandbox.supervisor import Supervisor  # noqa: PLC0415  # only this word needs it

    Supervisor(Machine()).run()
    return 0


def walk(state_file: Path | None = None) -> int:
    from sandbox.tour import run  # noqa: PLC0415  # only this word needs it

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its sandbox is stopped, too
    return run(state_file)


def with_postgres(command: list[str]) -> int:
    """Run a command with an empty database, and settings that are complete but lead nowhere else."""
    with scratch_directory() as directory, Postgres(directory / "postgres") as postgres:
        machine = Machine({})
        machine.secrets, machine.ports = make_secrets(), {"web": 8000}
        nowhere = "127.0.0.1:9"  # the discard port
        settings = machine.settings(
            database_url=postgres.url,
            redis_url=f"redis://{nowhere}/0",
            openai_url=f"http://{nowhere}",
            stripe_url=f"http://{nowhere}",
            smtp_url=f"smtp://{nowhere}",
        )
        return subprocess.run(command, env=settings, check=False).returncode


def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["up"]:
                return up()
            case ["tour"] | ["tour", "--state", _]:
                return walk(*map(Path, arguments[2:]))
            case ["with-postgres", "--", *command] if command:
                return with_postgres(command)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except KeyboardInterrupt:
        return 130
    except SandboxError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
