"""Behind `make up`: starts the parts in order, shows what happens, restarts what dies, and leaves nothing behind."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from sandbox.azurite import Azurite, is_installed
from sandbox.machine import ADMIN, DEMO, Machine
from sandbox.postgres import Postgres
from sandbox.processes import Child, SandboxError
from sandbox.programs import Program, first_steps, product
from sandbox.standins import ROOT, KeyVault, StandIns
from sandbox.telling import told
from sandbox.valkey import Valkey

LOOK_EVERY = 0.25  # seconds between two looks at the logs; a child's end wakes us at once
LONGEST_BACK_OFF = 30  # seconds before a child that keeps dying is started again
STEADY = 30  # seconds after which a child counts as well
PRODUCT_STOPS_WITHIN, PART_STOPS_WITHIN = 6, 3


class Part(Protocol):
    """Something with processes that is started and stopped as one."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Watched:
    """A child that is started again when it dies, later each time that it dies soon."""

    def __init__(self, child: Child, start: Callable[[], None]) -> None:
        self.child, self.start = child, start
        self.deaths, self.started_at = 0, time.monotonic()
        self.start_again_at: float | None = None

    def look(self, say: Callable[[str], None]) -> bool:
        """Whether it was started again."""
        now = time.monotonic()
        if self.start_again_at is None and not self.child.running:
            self.deaths = 1 if now - self.started_at > STEADY else self.deaths + 1
            wait = min(0.5 * 2 ** (self.deaths - 1), LONGEST_BACK_OFF)
            how = self.child.how_it_ended()
            say(f"{self.child.name} ended ({how}), starts again in {wait:g} s; its log is {self.child.log}")
            self.start_again_at = now + wait
        if self.start_again_at is None or now < self.start_again_at:
            return False
        self.start_again_at, self.started_at = None, now
        try:
            self.start()
        except SandboxError as error:
            say(str(error))
        else:
            say(f"{self.child.name} started again")
        return True


class Tail:
    """The new lines of a log that tell something."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.rest = path, 0, ""

    def lines(self) -> Iterator[str]:
        if not self.path.exists():
            return
        with self.path.open(errors="replace") as file:
            file.seek(self.at)
            text = self.rest + file.read()
            self.at = file.tell()
        *whole, self.rest = text.split("\n")
        for line in whole:
            if (said := told(line)) is not None:
                yield said


class Supervisor:
    """All of it. `programs` and `steps` are the product's, unless a test brings its own."""

    def __init__(
        self, machine: Machine, *, programs: list[Program] | None = None, steps: list[Program] | None = None
    ) -> None:
        self.machine, self.steps, self.given_programs = machine, steps, programs
        self.parts: list[Part] = []  # in the order of their start
        self.product: list[Child] = []
        self.watched: list[Watched] = []
        self.tails: list[Tail] = []
        self.state: dict[str, Any] = {}
        self.stopping = False

    def run(self) -> None:
        """Until Ctrl-C or SIGTERM. Raises SandboxError for what a person can put right; all is stopped by then."""
        began = time.monotonic()
        woken, waker = os.pipe()
        for end in (woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        try:
            self._start()
            self._print_table(time.monotonic() - began)
            while True:
                select.select([woken], [], [], LOOK_EVERY)
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._look()
        except KeyboardInterrupt:
            pass
        finally:
            self.stopping = True
            self._stop()

    def _asked_to_stop(self, *_: int | FrameType | None) -> None:
        if not self.stopping:  # once is enough; a second Ctrl-C must not cut the stopping short
            self.stopping = True
            raise KeyboardInterrupt

    def _start(self) -> None:
        machine = self.machine
        machine.open()
        say(f"Starting in {machine.directory}")
        vault = self._start_vault()
        environ = machine.settings(**self._start_parts(vault), vault=None if vault is None else vault.settings)
        for step in first_steps() if self.steps is None else self.steps:
            say(f"Running {step.name}")
            self._run_step(step, environ)
        programs = self.given_programs
        if programs is None:
            programs = product(
                web_port=machine.ports["web"],
                flower_port=machine.ports["flower"],
                flower_password=machine.secrets["flower_password"],
                directory=machine.directory,
            )
        say(f"Starting {', '.join(program.name for program in programs)}")
        for program in programs:
            self._start_program(program, environ)
        for program, child in zip(programs, self.product, strict=True):
            child.wait_until(partial(self._is_ready, program, child), seconds=60)
        self.state = {
            "app_url": machine.app_url,
            "flower_url": f"http://127.0.0.1:{machine.ports['flower']}",
            "flower": {"user": "admin", "password": machine.secrets["flower_password"]},
            "sandbox_url": f"http://127.0.0.1:{machine.ports['sandbox']}",
            "database_url": environ["CLOFY_DATABASE_URL"],
            "redis_url": environ["CLOFY_REDIS_URL"],
            "stripe_webhook_secret": (machine.product_secrets | machine.outside)["CLOFY_STRIPE_WEBHOOK_SECRETS"].split(
                ","
            )[0],
            "demo": {"email": DEMO, "password": environ["CLOFY_SEED_DEMO_PASSWORD"]},
            "admin": {
                "email": ADMIN,
                "password": environ["CLOFY_SEED_ADMIN_PASSWORD"],
                "totp_secret": environ["CLOFY_SEED_ADMIN_TOTP"],
            },
        }
        self._write_state()

    def _start_vault(self) -> KeyVault | None:
        """None if a vault, or a secret that it would hold, was given from outside: then that one counts."""
        machine = self.machine
        if machine.given("CLOFY_VAULT_URL", *machine.product_secrets):
            return None
        token = machine.secrets["vault_token"]
        vault = KeyVault(
            machine.path("vault"), secrets=machine.product_secrets, token=token, port=machine.ports["vault"]
        )
        self._start_part("the vault", vault, [vault.child])
        return vault

    def _start_parts(self, vault: KeyVault | None) -> dict[str, str]:
        """Start what was not given from outside; returns where each part is."""
        machine, ports = self.machine, self.machine.ports
        outside = machine.outside
        urls = {name: outside.get(f"CLOFY_{name.upper()}", "") for name in ("database_url", "redis_url", "smtp_url")}
        urls |= {"openai_url": outside.get("CLOFY_OPENAI_ENDPOINT", "")}
        urls |= {"stripe_url": outside.get("CLOFY_STRIPE_API_BASE", "")}
        if not urls["database_url"]:
            postgres = Postgres(machine.path("postgres"), ports["postgres"])
            self._start_part("PostgreSQL", postgres, [postgres.child])
            if postgres.home != postgres.directory:
                say(
                    f"PostgreSQL runs as {postgres.user}, who may not enter this folder; its data is in {postgres.home}"
                )
            urls["database_url"] = postgres.url
        if not urls["redis_url"]:
            valkey = Valkey(machine.path("valkey"), ports["valkey"])
            self._start_part("Valkey", valkey, [valkey.child])
            urls["redis_url"] = valkey.url
        urls["blob_connection_string"] = self._start_storage()
        if urls["openai_url"] and urls["stripe_url"] and urls["smtp_url"]:
            return urls
        standins = StandIns(
            machine.directory,
            webhook_url=f"{machine.app_url}/webhooks/stripe",
            openai_key=outside.get("CLOFY_OPENAI_API_KEY", machine.secrets["openai_api_key"]),
            stripe_key=outside.get("CLOFY_STRIPE_API_KEY", machine.secrets["stripe_api_key"]),
            webhook_secret=outside.get("CLOFY_STRIPE_WEBHOOK_SECRETS", machine.secrets["stripe_webhook_secret"]),
            vault=vault,
            with_openai=not urls["openai_url"],
            with_stripe=not urls["stripe_url"],
            with_mail=not urls["smtp_url"],
            port=ports["sandbox"],
            openai_port=ports["openai"],
            smtp_port=ports["smtp"],
        )
        self._start_part("the stand-ins", standins, standins.children)
        self.tails = [Tail(child.log) for child in standins.children]
        ours = {"openai_url": standins.openai_url, "stripe_url": standins.stripe_url, "smtp_url": standins.smtp_url}
        return {name: url or ours[name] for name, url in urls.items()}

    def _start_storage(self) -> str:
        """Azurite's connection string; "" where another storage was given from outside, or npm could not get it."""
        machine = self.machine
        if machine.given("CLOFY_BLOB_CONNECTION_STRING", "CLOFY_BLOB_ACCOUNT_URL"):
            return ""
        azurite = Azurite(machine.path("azurite"), machine.ports["azurite"], machine.secrets["blob_key"])
        if not is_installed():
            say("Azurite is not installed, so pictures cannot be uploaded; `python -m sandbox.azurite` tries again")
            return ""
        self._start_part("Azurite", azurite, [azurite.child])
        return azurite.connection_string

    def _start_part(self, name: str, part: Part, children: list[Child]) -> None:
        say(f"Starting {name}")
        self.parts.append(part)
        part.start()
        # A part of one process is started again through the part, which also waits until it is ready.
        starts = [part.start] if len(children) == 1 else [child.start for child in children]
        self.watched += [Watched(child, start) for child, start in zip(children, starts, strict=True)]

    def _run_step(self, step: Program, environ: dict[str, str]) -> None:
        child = Child(
            step.name, step.command, log=self.machine.log(step.name), environ=environ | step.environ, directory=ROOT
        )
        self.product.append(child)
        child.start()
        assert child.process is not None
        if child.process.wait():
            raise SandboxError(f"{step.name} failed ({child.how_it_ended()}). {child.last_words(15)}")
        self.product.remove(child)

    def _is_ready(self, program: Program, child: Child) -> bool:
        """Whether it is. Raises SandboxError when any of us has ended: then the whole will not come up."""
        for one in self.watched:
            if not one.child.running:
                raise one.child.has_ended()
        return program.is_ready(child.pid)

    def _start_program(self, program: Program, environ: dict[str, str]) -> None:
        alive = {}
        if program.alive_file is not None:
            program.alive_file.unlink(missing_ok=True)  # the last run's
            alive["CLOFY_ALIVE_FILE"] = str(program.alive_file)
        child = Child(
            program.name,
            program.command,
            log=self.machine.log(program.name),
            environ=environ | program.told | alive,
            directory=ROOT,
            stop_signal=program.stop_signal,
            orphan_signal=signal.SIGKILL,  # without its database it could not drain; leases and sweepers take over
        )
        self.product.append(child)
        child.start()
        self.watched.append(Watched(child, child.start))

    def _tell(self) -> None:
        for tail in self.tails:
            for line in tail.lines():
                say(line)

    def _look(self) -> None:
        self._tell()
        started_again = [one for one in self.watched if one.look(say)]
        if started_again:
            self._write_state()

    def _write_state(self) -> None:
        self.state["processes"] = {one.child.name: one.child.pid for one in self.watched}
        self.machine.write_state(self.state)

    def _stop(self) -> None:
        began = time.monotonic()
        say("Stopping")
        for child in self.product:
            child.ask_to_stop()
        for child in self.product:
            child.stop(seconds=max(0.1, PRODUCT_STOPS_WITHIN - (time.monotonic() - began)))
        for part in reversed(self.parts):
            part.stop()
        self._tell()
        self.machine.close()
        say(f"Stopped in {time.monotonic() - began:.1f} s")

    def _print_table(self, seconds: float) -> None:
        state, secrets = self.state, self.machine.secrets
        rows = [
            ("Clofy Cloud", state["app_url"], ""),
            ("  demo account", DEMO, state["demo"]["password"]),
            ("  admin account", ADMIN, state["admin"]["password"]),
            ("  its authenticator app", "key to type in", state["admin"]["totp_secret"]),
            ("Inbox, payments, knobs", state["sandbox_url"], ""),
            ("Flower", state["flower_url"], f"admin / {secrets['flower_password']}"),
            ("PostgreSQL", state["database_url"].split("@")[-1], ""),
            ("Redis", state["redis_url"].split("@")[-1], ""),
            ("Logs", str(self.machine.directory / "log"), ""),
            ("To stop", "Ctrl-C here", f"or: kill {os.getpid()}"),
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        print(f"\nUp in {seconds:.1f} s\n")
        for name, where, what in rows:
            print(f"  {name:<{widths[0]}}  {where:<{widths[1]}}  {what}".rstrip())
        print(flush=True)


def say(text: str) -> None:
    """A line for the person at the terminal, if there still is one."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
