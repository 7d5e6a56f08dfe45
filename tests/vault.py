"""The sandbox's Key Vault on the loop of the test, with secrets of the test, and this process pointed at it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from core import secrets, vault
from core.settings import Secret, settings
from sandbox.certificates import make_certificates
from sandbox.processes import free_port, listens
from sandbox.vault import Knobs, Vault, create_app

TOKEN = "token-of-a-test"
GIVEN = {
    Secret.SECRET_KEY: "the-first-secret-key-of-this-vault-0123456789",
    Secret.FIELD_KEY: "1f" * 16 + "2e" * 16,
    Secret.SNAPSHOT_KEY: "3a" * 16 + "4b" * 16,
    Secret.OPENAI_API_KEY: "the-first-openai-key",
    Secret.STRIPE_API_KEY: "sk_test_the_first_stripe_key",
    Secret.STRIPE_WEBHOOK_SECRET: "whsec_the_first_webhook_secret",
}


class Keys:
    """A vault, and the clock of the product, which is moved with the vault's own."""

    def __init__(self, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vault, self.ahead, self.monkeypatch = vault, timedelta(), monkeypatch
        self.told = settings()

    def say(self, **changes: object) -> None:
        """Change settings of those who read the vault."""
        self.told = self.told.model_copy(update=changes)
        for module in (secrets, vault):
            self.monkeypatch.setattr(module, "settings", lambda: self.told)

    def turn(self, **knobs: object) -> None:
        self.vault.knobs = Knobs.model_validate(self.vault.knobs.model_dump() | knobs)

    def pass_time(self, time: timedelta) -> None:
        """Move the clocks; whoever waits for a time does not notice, so call refresh_if_due() as its task would."""
        self.ahead += time
        self.turn(ahead_s=int(self.ahead.total_seconds()))

    async def live(self, time: timedelta) -> None:
        """Move the clocks by a quarter of an hour at a time, with what the task of each process does meanwhile."""
        step = timedelta(minutes=15)
        while time > timedelta():
            self.pass_time(min(step, time))
            time -= step
            await secrets.refresh_if_due()

    def version(self, secret: Secret) -> str:
        """The id of the newest."""
        return self.vault.find(secret.value).id

    def rotate(self, secret: Secret, value: str) -> None:
        self.vault.add(secret.value, value)

    def change(self, secret: Secret, version: str, **attributes: object) -> None:
        one = self.vault.find(secret.value, version)
        one.attributes = one.attributes.model_copy(update=attributes)

    @property
    def requests(self) -> int:
        return self.vault.requests


@asynccontextmanager
async def serve(directory: Path, given: Mapping[Secret, str] = GIVEN) -> AsyncIterator[tuple[Vault, dict[str, str]]]:
    """The vault over TLS, and what a process is told to find it, as CLOFY_*."""
    files = make_certificates(directory, "127.0.0.1")
    vault = Vault(directory, token=TOKEN, first={one.value: value for one, value in given.items()})
    port, ended = free_port(), asyncio.Event()

    async def end() -> None:
        await ended.wait()

    serving = asyncio.create_task(
        create_app(vault).run_task(
            port=port, certfile=str(files.certificate), keyfile=str(files.key), shutdown_trigger=end
        )
    )
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(listens, port):  # noqa: ASYNC110  # this server tells nobody that it listens
            await asyncio.sleep(0.01)
    told = {"VAULT_URL": f"https://127.0.0.1:{port}", "VAULT_CA_FILE": str(files.authority), "VAULT_TOKEN": TOKEN}
    yield vault, {f"CLOFY_{name}": value for name, value in told.items()}
    ended.set()
    await serving


@asynccontextmanager
async def keys(
    directory: Path, monkeypatch: pytest.MonkeyPatch, given: Mapping[Secret, str] = GIVEN
) -> AsyncIterator[Keys]:
    """This process, which has read nothing yet, with a vault and a clock that can be moved."""
    async with serve(directory, given) as (running, told):
        made, real_now = Keys(running, monkeypatch), secrets.now
        made.say(
            vault_url=told["CLOFY_VAULT_URL"],
            vault_ca_file=told["CLOFY_VAULT_CA_FILE"],
            vault_token=SecretStr(told["CLOFY_VAULT_TOKEN"]),
        )
        monkeypatch.setattr(secrets, "now", lambda: real_now() + made.ahead)
        monkeypatch.setattr(secrets, "_held", secrets._Held())
        yield made
