"""Reading an Azure Key Vault. Only core/secrets.py imports this, and only where there is a vault."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azure.core.credentials import AccessToken, AccessTokenInfo
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.identity.aio import ManagedIdentityCredential
from azure.keyvault.secrets.aio import SecretClient

from core.errors import Unavailable
from core.settings import settings


class VaultAway(Unavailable):
    """The vault of our secrets does not answer."""


@dataclass(frozen=True)
class Entry:
    """A version of a secret, without its value."""

    id: str
    since: datetime  # when it began to count: when the vault was given it, or later if it was told so (`nbf`)
    until: datetime | None


class Vault:
    def __init__(self, client: SecretClient) -> None:
        self._client = client

    async def entries(self, name: str, *, now: datetime) -> list[Entry]:
        """The versions that are enabled and have begun, the newest first."""
        found = []
        try:
            async for one in self._client.list_properties_of_secret_versions(name):
                begins = one.not_before
                if one.enabled and one.version and one.created_on and (begins is None or begins <= now):
                    found.append(Entry(one.version, max(one.created_on, begins or one.created_on), one.expires_on))
        except ResourceNotFoundError:
            return []
        return sorted(found, key=lambda one: one.since, reverse=True)

    async def value(self, name: str, version: str) -> str:
        return (await self._client.get_secret(name, version)).value or ""


@asynccontextmanager
async def open_vault(*, tries: int) -> AsyncIterator[Vault]:
    """Connect for one reading: an hour is too long to keep a connection for, and the next may be on another loop.

    tries: again, of each request that is not answered, with waits between that double
    Raises VaultAway, the body of the `async with` too, for whatever the vault, the network or the identity refuses.
    """
    here = settings()
    token = here.vault_token.get_secret_value()
    credential = _Token(token) if token else ManagedIdentityCredential(client_id=here.vault_identity or None)
    client = SecretClient(
        here.vault_url,
        credential,
        verify_challenge_resource=not token,  # the sandbox's vault has no name of Azure's
        connection_verify=here.vault_ca_file or True,
        connection_timeout=5,
        read_timeout=10,
        retry_total=tries,
        retry_backoff_factor=0.2,  # seconds
    )
    try:
        async with credential, client:
            yield Vault(client)
    except AzureError as error:
        raise VaultAway(cause=type(error).__name__) from error


class _Token:
    """A token that was given by a setting, where no identity is: in the sandbox."""

    def __init__(self, token: str) -> None:
        self._token, self._until = token, int(datetime.now(UTC).timestamp()) + 3600

    async def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken(self._token, self._until)

    async def get_token_info(self, *_scopes: str, **_: Any) -> AccessTokenInfo:
        return AccessTokenInfo(self._token, self._until)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> "_Token":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass
