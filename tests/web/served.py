"""A web process of its own, for what is tested from outside: over a real port, by requests of any kind."""

import json
from pathlib import Path

import httpx

from sandbox.processes import Child, free_port
from tests.house import MODULE, ROOT, House


class Served:
    """Uvicorn with the product's web application, as in production; `settings` take the place of the house's."""

    def __init__(self, house: House, directory: Path, **settings: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environ = house.environ | {"CLOFY_PUBLIC_URL": self.url} | settings
        flags = f"--factory web.app:create_app --host 127.0.0.1 --port {port} --no-access-log --no-server-header"
        flags += " --http web.heads:BoundedHeads"
        self.process = Child(
            "web",
            [*MODULE, "uvicorn", *flags.split()],
            log=directory / "web.log",
            environ=self.environ,
            directory=ROOT,
        )
        self.http = httpx.Client(base_url=self.url, timeout=20)

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(self._answers)

    def stop(self) -> None:
        self.http.close()
        self.process.stop()

    def errors(self) -> list[str]:
        """What the process has logged as an error, a line each."""
        lines = self.process.log.read_text().splitlines()
        told = [line for line in lines if line.startswith("{") and json.loads(line)["level"] in ("error", "critical")]
        return told + [line for line in lines if line.startswith("Traceback")]

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").is_success
        except httpx.TransportError:
            return False
