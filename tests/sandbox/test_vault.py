"""The stand-in of Key Vault keeps to the vault's protocol, by the word of the real SDK."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.keyvault.secrets.aio import SecretClient

from sandbox.certificates import make_certificates
from sandbox.standins import KeyVault, StandIns
from sandbox.vault import Vault
from tests.vault import TOKEN, serve


class Token:
    def __init__(self, token: str) -> None:
        self.token, self.scopes = token, list[str]()

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self.token, 4_000_000_000)

    async def get_token_info(self, *scopes: str, **_: object) -> AccessTokenInfo:
        self.scopes += scopes
        return AccessTokenInfo(self.token, 4_000_000_000)

    async def close(self) -> None: ...

    async def __aenter__(self) -> "Token":
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Served:
    def __init__(self, vault: Vault, told: dict[str, str]) -> None:
        self.vault, self.url = vault, told["CLOFY_VAULT_URL"]
        self.ca_file = told["CLOFY_VAULT_CA_FILE"]

    def client(self, token: Token | None = None, *, ca_file: str = "") -> SecretClient:
        return SecretClient(
            self.url,
            token or Token(TOKEN),
            verify_challenge_resource=False,
            connection_verify=ca_file or self.ca_file,
            retry_total=0,
        )

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=ssl.create_default_context(cafile=self.ca_file))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path, {}) as (vault, told):
        yield Served(vault, told)


async def test_a_secret_is_set_read_and_changed(served: Served) -> None:
    async with served.client() as client:
        first = await client.set_secret("a-key", "one")
        second = await client.set_secret("a-key", "two")
        await client.update_secret_properties("a-key", first.properties.version, enabled=False)
        newest = await client.get_secret("a-key")
        listed = {one.version: one async for one in client.list_properties_of_secret_versions("a-key")}

        with pytest.raises(HttpResponseError) as disabled:
            await client.get_secret("a-key", first.properties.version)

    assert (newest.value, newest.properties.version) == ("two", second.properties.version)
    assert {version: one.enabled for version, one in listed.items()} == {
        first.properties.version: False,
        second.properties.version: True,
    }
    created = newest.properties.created_on
    assert created is not None
    assert abs((datetime.now(UTC) - created).total_seconds()) < 30
    assert disabled.value.status_code == 403


async def test_the_end_of_a_version_is_told(served: Served) -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    async with served.client() as client:
        await client.set_secret("a-key", "one", expires_on=end)

        assert (await client.get_secret("a-key")).properties.expires_on == end


async def test_many_versions_come_on_several_pages(served: Served) -> None:
    ids = {served.vault.add("a-key", str(number)).id for number in range(60)}

    async with served.client() as client:
        assert {one.version async for one in client.list_properties_of_secret_versions("a-key")} == ids
    assert served.vault.requests == 1 + 3  # without a token, then three pages


async def test_what_is_not_there_is_not_found(served: Served) -> None:
    async with served.client() as client:
        with pytest.raises(ResourceNotFoundError):
            await client.get_secret("nothing")


async def test_who_has_no_token_is_told_whom_to_ask_and_a_wrong_one_is_refused(served: Served) -> None:
    token = Token("another's")
    async with served.client(token) as client:
        with pytest.raises(ClientAuthenticationError):
            await client.get_secret("a-key")

    assert set(token.scopes) == {"https://vault.azure.net/.default"}


async def test_a_request_without_a_version_of_the_protocol_is_refused(served: Served) -> None:
    async with served.http() as http:
        refused = await http.get("/secrets/a-key", headers={"Authorization": f"Bearer {TOKEN}"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadParameter")


async def test_another_authority_is_not_believed(served: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    others = make_certificates(tmp_path_factory.mktemp("others"), "127.0.0.1")

    async with served.client(ca_file=str(others.authority)) as client:
        with pytest.raises(ServiceRequestError):
            await client.get_secret("a-key")

    assert served.vault.requests == 0


def test_it_finds_its_secrets_and_its_certificate_again_and_nobody_else_reads_them(tmp_path: Path) -> None:
    version = Vault(tmp_path, token=TOKEN, first={"a-key": "one"}).find("a-key")
    certificate = make_certificates(tmp_path, "127.0.0.1").certificate.read_bytes()

    again = Vault(tmp_path, token=TOKEN, first={"a-key": "of the settings"})

    assert again.find("a-key") == version
    assert make_certificates(tmp_path, "127.0.0.1").certificate.read_bytes() == certificate
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes["vault.json"] == modes["server-key.pem"] == 0o600


async def test_the_knobs_turn_it_off_rotate_and_show_no_value(served: Served) -> None:
    served.vault.add("a-key", "a-value-to-hide")
    async with served.http() as http, served.client() as client:
        await http.patch("/control", json={"down": True})
        with pytest.raises(HttpResponseError) as down:
            await client.get_secret("a-key")
        told = await http.get("/control")
        wrong = await http.patch("/control", json={"upside": True})
        await http.post("/control/reset")
        await http.post("/control/rotate/a-key", json={"value": "two"})
        after = (await client.get_secret("a-key")).value

    assert down.value.status_code == 503
    assert "a-value-to-hide" not in told.text
    assert wrong.status_code == 400
    assert after == "two"


def test_the_page_of_all_knobs_has_the_vaults_too(tmp_path: Path) -> None:
    """Over processes of their own, as `make up` starts them."""
    vault = KeyVault(tmp_path / "vault", secrets={"CLOFY_OPENAI_API_KEY": "the-first"}, token=TOKEN)
    with (
        vault,
        StandIns(tmp_path / "others", vault=vault, with_openai=False, with_mail=False) as others,
        httpx.Client(base_url=others.url, trust_env=False, timeout=10) as http,
    ):
        turned = http.patch("/control", json={"vault": {"down": True, "latency_ms": 1}}).raise_for_status().json()
        wrong = http.patch("/control", json={"vault": {"upside": True}})
        rotated = http.post("/control/vault/rotate/openai-api-key").raise_for_status().json()
        reset = http.post("/control/reset").raise_for_status().json()

    assert (turned["vault"]["knobs"]["down"], turned["vault"]["knobs"]["latency_ms"]) == (True, 1)
    assert wrong.status_code == 400
    assert reset["vault"]["secrets"]["openai-api-key"][0]["id"] == rotated["version"]
    assert reset["vault"]["knobs"]["down"] is False
