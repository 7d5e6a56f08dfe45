"""All stand-ins of vendors, as processes: `with StandIns(directory, webhook_url=...) as s: s.openai_url`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.certificates import files_of
from sandbox.processes import Child, StartsAndStops, free_port, listens

ROOT = Path(__file__).parent.parent


class KeyVault(StartsAndStops):
    """The vault, which speaks TLS; `settings` is what a process of ours needs to read it.

    secrets: what it holds when it is first started, as CLOFY_*
    """

    def __init__(self, directory: Path, *, secrets: Mapping[str, str], token: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = files_of(directory.resolve()).authority
        self.settings = {
            "CLOFY_VAULT_URL": self.url,
            "CLOFY_VAULT_CA_FILE": str(self.ca_file),
            "CLOFY_VAULT_TOKEN": token,
        }
        words = ["-m", "sandbox.vault", "--directory", str(directory.resolve()), "--port", str(self.port)]
        environ = os.environ | secrets | {"CLOFY_VAULT_TOKEN": token, "PYTHONUNBUFFERED": "1"}
        log = directory.resolve() / "log" / "vault.log"
        self.child = Child("vault", [sys.executable, *words], log=log, environ=environ, directory=ROOT)

    def start(self) -> None:
        """Returns when it listens."""
        self.child.start()
        self.child.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        self.child.stop()


class StandIns(StartsAndStops):
    """Azure OpenAI in a process of its own, since it is measured; Stripe, the inbox and the knobs in another.

    `webhook_url` may be set later: PATCH {url}/control {"stripe": {"webhook_url": ...}}.
    A part that is not wanted, since somebody else plays it, is left out.
    """

    def __init__(
        self,
        directory: Path,
        *,
        webhook_url: str = "",
        openai_key: str = "sandbox-openai-key",
        stripe_key: str = "sk_test_sandbox",
        webhook_secret: str = "whsec_sandbox",
        vault: KeyVault | None = None,
        with_openai: bool = True,
        with_stripe: bool = True,
        with_mail: bool = True,
        port: int | None = None,
        openai_port: int | None = None,
        smtp_port: int | None = None,
    ) -> None:
        self.openai_key, self.stripe_key, self.webhook_secret = openai_key, stripe_key, webhook_secret
        self.port, self.smtp_port = port or free_port(), smtp_port or free_port()
        self.openai_port = openai_port or free_port()
        environ = os.environ | {
            "PYTHONUNBUFFERED": "1",
            "CLOFY_OPENAI_API_KEY": openai_key,
            "CLOFY_STRIPE_API_KEY": stripe_key,
            "CLOFY_STRIPE_WEBHOOK_SECRETS": webhook_secret,
        }
        model = [sys.executable, "-m", "sandbox.openai_api", "--port", str(self.openai_port)]
        others = [sys.executable, "-m", "sandbox.control", "--directory", str(directory.resolve())]
        others += ["--port", str(self.port), "--smtp-port", str(self.smtp_port), "--webhook-url", webhook_url]
        others += ["--openai-url", self.openai_url if with_openai else ""]
        if vault is not None:
            others += ["--vault-url", vault.url, "--vault-ca", str(vault.ca_file)]
        others += [part for part, wanted in (("--no-stripe", with_stripe), ("--no-mail", with_mail)) if not wanted]
        self.waited_for = {"openai": [self.openai_port], "standins": [self.port, self.smtp_port][: 1 + with_mail]}
        log = directory.resolve() / "log"
        self.children = [Child("standins", others, log=log / "standins.log", environ=environ, directory=ROOT)]
        if with_openai:
            self.children.insert(0, Child("openai", model, log=log / "openai.log", environ=environ, directory=ROOT))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.openai_port}"

    @property
    def stripe_url(self) -> str:
        return self.url

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self.smtp_port}"

    def start(self) -> None:
        """Start them together; returns when all listen."""
        for child in self.children:
            child.start()
        for child in self.children:
            ports = self.waited_for[child.name]
            child.wait_until(lambda ports=ports: all(listens(port) for port in ports))  # type: ignore[misc]

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()
