"""What a sandbox remembers between two starts, and what it says to the processes of the product."""

import base64
import fcntl
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import orjson

from sandbox.azurite import make_key
from sandbox.ports import Held
from sandbox.processes import SandboxError

WEB_PORT = 8000
DEMO, ADMIN = "demo@clofy.example", "admin@clofy.example"
PRODUCT_SECRETS = {
    "CLOFY_SECRET_KEY": "secret_key",
    "CLOFY_FIELD_KEY": "field_key",
    "CLOFY_SNAPSHOT_KEY": "snapshot_key",
    "CLOFY_OPENAI_API_KEY": "openai_api_key",
    "CLOFY_STRIPE_API_KEY": "stripe_api_key",
    "CLOFY_STRIPE_WEBHOOK_SECRETS": "stripe_webhook_secret",
}


class Machine:
    """One sandbox: its folder, secrets and ports. Several run side by side, each in a folder of its own."""

    def __init__(self, outside: Mapping[str, str] = os.environ) -> None:
        self.outside = {name: value for name, value in outside.items() if name.startswith("CLOFY_") and value}
        self.directory = Path(self.outside.get("CLOFY_SANDBOX_DIR", ".sandbox")).resolve()
        self.lock: IO[str] | None = None
        self.held = Held()

    def open(self) -> None:
        """Take the folder for us alone, and read or make what is remembered."""
        self.lock = self._take_lock()
        try:
            self.secrets = make_secrets() | self._remembered("secrets.json", make_secrets)
            self._write("secrets.json", self.secrets)  # with what an older sandbox did not have
            self.ports = self._ports()
            logs = self.directory / "log"
            logs.mkdir(exist_ok=True)
            for log in logs.glob("*.log"):
                log.replace(log.with_suffix(".log.1"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Leave the folder to others; it is no longer said that anything runs here."""
        if self.lock is not None:
            self.path("state.json").unlink(missing_ok=True)
            self.held.release()
            self.lock.close()
            self.lock = None

    def _take_lock(self) -> IO[str]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / "lock").open("w")
        except OSError as error:
            raise SandboxError(f"The sandbox cannot write to {self.directory}: {error.strerror}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise SandboxError(
                f"Another sandbox runs in {self.directory}. CLOFY_SANDBOX_DIR=... gives this one a folder of its own."
            ) from None
        return lock

    def path(self, name: str) -> Path:
        return self.directory / name

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    @property
    def app_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['web']}"

    def given(self, *names: str) -> bool:
        """Whether any of these settings came from outside, so that our stand-in of it is not needed."""
        return any(name in self.outside for name in names)

    def settings(
        self,
        *,
        database_url: str,
        redis_url: str,
        openai_url: str,
        stripe_url: str,
        smtp_url: str,
        blob_connection_string: str = "",
        vault: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The environment of the product's processes: our own parts, except where one was given from outside.

        vault: where they find their secrets; without, they are told them
        """
        ours = {
            "CLOFY_ENVIRONMENT": "sandbox",
            "CLOFY_PUBLIC_URL": self.app_url,
            "CLOFY_DATABASE_URL": database_url,
            "CLOFY_REDIS_URL": redis_url,
            "CLOFY_OPENAI_ENDPOINT": openai_url,
            "CLOFY_OPENAI_DEPLOYMENT": "clofy-chat",
            "CLOFY_STRIPE_API_BASE": stripe_url,
            "CLOFY_SMTP_URL": smtp_url,
            "CLOFY_BLOB_CONNECTION_STRING": blob_connection_string,
            "CLOFY_DRAIN_SECONDS": "4",  # Ctrl-C is to end everything in under 10 s; what runs longer goes back
            "CLOFY_SEED_DEMO_PASSWORD": self.secrets["demo_password"],
            "CLOFY_SEED_ADMIN_PASSWORD": self.secrets["admin_password"],
            "CLOFY_SEED_ADMIN_TOTP": self.secrets["admin_totp"],
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **ours, **(vault or self.product_secrets), **self.outside}

    @property
    def product_secrets(self) -> dict[str, str]:
        """Those of the product, as it is told them where there is no vault."""
        return {setting: self.secrets[name] for setting, name in PRODUCT_SECRETS.items()}

    def write_state(self, state: dict[str, Any]) -> None:
        """What scripts read: whole or not at all, and only for us, as it has passwords in it."""
        self._write("state.json", state)

    def _ports(self) -> dict[str, int]:
        """The same as last time where nobody else has taken them; ours until `close`."""
        ports: dict[str, int] = self._remembered("ports.json", dict)
        ports["web"] = self._web_port()
        for name in ("postgres", "valkey", "sandbox", "openai", "smtp", "flower", "vault", "azurite"):
            if name not in ports or not self.held.take(ports[name]):
                ports[name] = self.held.take_any()
        self._write("ports.json", ports)
        return ports

    def _web_port(self) -> int:
        if "CLOFY_PORT" in self.outside:
            port = int(self.outside["CLOFY_PORT"])
            if not self.held.take(port):
                raise SandboxError(f"Port {port} is in use. CLOFY_PORT=... chooses another.")
            return port
        port = next(port for port in range(WEB_PORT, 65536) if self.held.take(port))
        if port != WEB_PORT:
            print(f"Port {WEB_PORT} is in use; taking {port}.", flush=True)
        return port

    def _remembered(self, name: str, make: Any) -> Any:
        if not self.path(name).exists():
            self._write(name, make())
        return orjson.loads(self.path(name).read_bytes())

    def _write(self, name: str, value: Any) -> None:
        unfinished = self.path(f"{name}.new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
        unfinished.replace(self.path(name))


def make_secrets() -> dict[str, str]:
    return {
        "secret_key": secrets.token_urlsafe(48),
        "field_key": secrets.token_hex(32),
        "snapshot_key": secrets.token_hex(32),
        "openai_api_key": secrets.token_hex(16),
        "stripe_api_key": f"sk_test_{secrets.token_hex(24)}",
        "stripe_webhook_secret": f"whsec_{secrets.token_hex(24)}",
        "demo_password": secrets.token_urlsafe(12),
        "admin_password": secrets.token_urlsafe(18),
        "admin_totp": base64.b32encode(secrets.token_bytes(20)).decode(),  # admins need a second factor
        "flower_password": secrets.token_urlsafe(12),
        "vault_token": secrets.token_urlsafe(24),
        "blob_key": make_key(),
    }
