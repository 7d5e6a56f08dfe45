"""What an operator may set, all of it as CLOFY_*; two more are of a worker's container (workers/app.py, process.py)."""

import re
from enum import StrEnum
from functools import cache
from typing import Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url


class Environment(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


class Secret(StrEnum):
    """What nobody else may know. The values are the names in a vault; without one, each comes from its setting."""

    SECRET_KEY = "secret-key"  # noqa: S105  # a name; it keys the hashes of codes and the CSRF tokens
    FIELD_KEY = "field-key"  # seals fields of the database: 32 bytes as 64 hexadecimal characters
    SNAPSHOT_KEY = "snapshot-key"  # seals the daily copies of the database; of the same form
    OPENAI_API_KEY = "openai-api-key"
    STRIPE_API_KEY = "stripe-api-key"
    STRIPE_WEBHOOK_SECRET = "stripe-webhook-secret"  # noqa: S105  # a name
    SMTP_PASSWORD = "smtp-password"  # noqa: S105  # a name


class Part(StrEnum):
    """Which process of the house this is. It has the secrets that it needs, and no other."""

    ALL = "all"  # an operator's command line, migrations, tests
    WEB = "web"
    WORKER_AI = "worker-ai"
    WORKER_DEFAULT = "worker-default"
    WORKER_MEDIA = "worker-media"
    BEAT = "beat"
    FLOWER = "flower"


NEEDS: dict[Part, frozenset[Secret]] = {
    Part.ALL: frozenset(Secret),
    Part.WEB: frozenset({Secret.SECRET_KEY, Secret.FIELD_KEY, Secret.STRIPE_API_KEY, Secret.STRIPE_WEBHOOK_SECRET}),
    Part.WORKER_AI: frozenset({Secret.SECRET_KEY, Secret.OPENAI_API_KEY}),
    Part.WORKER_DEFAULT: frozenset(Secret) - {Secret.OPENAI_API_KEY, Secret.STRIPE_WEBHOOK_SECRET},
    Part.WORKER_MEDIA: frozenset(),
    Part.BEAT: frozenset(),
    Part.FLOWER: frozenset(),
}


class Edge(StrEnum):
    """What stands before the web processes, and so what may be believed about where a request comes from."""

    NONE = "none"  # nothing: the peer of the connection is the person
    PROXY = "proxy"  # one that adds the peer to X-Forwarded-For, on our own network
    FRONT_DOOR = "front-door"  # Azure Front Door, proven by CLOFY_FRONT_DOOR_ID


WEAK_SECRETS = {"secret", "changeme", "change-me", "password", "test", "default"}


def fault_of(secret: Secret, value: str, *, production: bool) -> str | None:
    """Why this cannot be that secret, never with what it is; None if it can."""
    if not value.strip():
        return "is empty"  # an empty one would verify any forgery
    if secret in (Secret.FIELD_KEY, Secret.SNAPSHOT_KEY) and not re.fullmatch("[0-9a-fA-F]{64}", value):
        return "is not 64 hexadecimal characters"
    if secret is Secret.SECRET_KEY and len(value) < 32:
        return "has less than 32 characters"
    if production and (value.strip().lower() in WEAK_SECRETS or len(set(value)) < 6):
        return "is a default, or nearly one"
    if production and secret is Secret.STRIPE_API_KEY and value.strip().startswith(("sk_test_", "rk_test_")):
        return "is of Stripe's test mode: credits would be had for no money"
    return None


def _is_verified(redis_url: str) -> bool:
    """Whether this is TLS with a certificate and a name that are checked, as they are unless the query says no."""
    parts = urlsplit(redis_url)
    said = {name: set(values) for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return (
        parts.scheme == "rediss"
        and said.get("ssl_cert_reqs", {"required"}) <= {"required", "CERT_REQUIRED"}
        and said.get("ssl_check_hostname", {"true"}) <= {"true", "True"}
    )


def _is_verified_database(url: str) -> bool:
    return make_url(url).query.get("ssl") == "verify-full"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="CLOFY_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # what was set may be a secret, and this error goes to the log
    )

    environment: Environment = Environment.PRODUCTION
    part: Part = Part.ALL
    public_url: str = Field(pattern=r"^https?://[^/]+$")
    # With a vault (core/secrets.py) the secrets come from there, and what is set here of them counts for nothing.
    vault_url: str = Field("", pattern=r"^(https://[^/]+/?)?$")
    vault_identity: str = ""  # the client id of a user-assigned identity; empty: the machine's own
    vault_ca_file: str = ""  # whom to believe the vault's certificate; empty: the public authorities
    vault_token: SecretStr = SecretStr("")  # instead of an identity; the sandbox's
    edge: Edge = Edge.NONE
    front_door_id: str = ""  # of the one Front Door that is ours: others share its addresses (security.md 153)
    secret_key: SecretStr = SecretStr("")  # of a secret several may be given, the newest first, with commas between
    field_key: SecretStr = SecretStr("")
    snapshot_key: SecretStr = SecretStr("")
    database_url: str = Field(pattern=r"^postgresql\+asyncpg://")
    # Emptied and filled by the weekly drill; empty: one is made on the same server, which the role must be allowed to.
    drill_database_url: str = Field("", pattern=r"^(postgresql\+asyncpg://.+)?$")
    redis_url: str = Field(pattern=r"^rediss?://")
    streams_redis_url: str = ""  # empty: the broker's
    openai_endpoint: str = Field(pattern=r"^https?://")
    openai_api_key: SecretStr = SecretStr("")
    openai_deployment: str = Field(min_length=1)
    openai_api_version: str = "2024-10-21"
    stripe_api_key: SecretStr = SecretStr("")
    stripe_api_base: str = "https://api.stripe.com"
    stripe_webhook_secrets: SecretStr = SecretStr("")
    breached_passwords_url: str = Field("", pattern=r"^(https://[^/]+|http://127\.0\.0\.1:\d+)?$")  # empty: not asked
    smtp_url: str = Field(pattern=r"^smtps?://")
    # Where pictures are kept; without either there are none. The account is opened by the machine's identity.
    blob_account_url: str = Field("", pattern=r"^(https://[^/]+)?$")
    blob_connection_string: SecretStr = SecretStr("")  # of an emulator
    mail_from: str = "Clofy Cloud <no-reply@clofy.cloud>"
    seller: str = "Clofy Cloud"  # who sells, on receipts; its lines with semicolons between
    teams: Literal["on", "off"] = "on"

    @property
    def streams_url(self) -> str:
        return self.streams_redis_url or self.redis_url

    def given(self, secret: Secret) -> tuple[str, ...]:
        """What was set of a secret, the newest first; ("",) if nothing was."""
        if secret is Secret.SMTP_PASSWORD:
            return (unquote(urlsplit(self.smtp_url).password or ""),)
        several: SecretStr = getattr(self, SETTING_OF[secret])
        return tuple(one.strip() for one in several.get_secret_value().split(",") if one.strip()) or ("",)

    @property
    def needed(self) -> frozenset[Secret]:
        """The secrets without which this part does not start: a password only where the mail server asks for one."""
        return NEEDS[self.part] if "@" in self.smtp_url else NEEDS[self.part] - {Secret.SMTP_PASSWORD}

    @model_validator(mode="after")
    def edge_is_known(self) -> Self:
        if self.edge is Edge.FRONT_DOOR and len(self.front_door_id) < 32:
            raise ValueError("CLOFY_FRONT_DOOR_ID must be the id of the Front Door")
        return self

    @model_validator(mode="after")
    def has_its_secrets(self) -> Self:
        """Refuse a secret that is empty, malformed or a default, and say which. A vault's come later."""
        if self.vault_url:
            return self
        production = self.environment is Environment.PRODUCTION
        faults = {
            f"CLOFY_{SETTING_OF[secret].upper()} {fault}"
            for secret in self.needed
            for value in self.given(secret)
            if (fault := fault_of(secret, value, production=production))
        }
        if faults:
            raise ValueError("; ".join(sorted(faults)))
        return self

    @model_validator(mode="after")
    def fit_for_production(self) -> Self:
        """Refuse, in production, what would carry or guard people's words in the clear, and say which."""
        if self.environment is not Environment.PRODUCTION:
            return self
        clear = {
            "CLOFY_PUBLIC_URL": urlsplit(self.public_url).scheme == "https",
            "CLOFY_DATABASE_URL": _is_verified_database(self.database_url),
            "CLOFY_DRILL_DATABASE_URL": _is_verified_database(self.drill_database_url or self.database_url),
            "CLOFY_REDIS_URL": _is_verified(self.redis_url),
            "CLOFY_STREAMS_REDIS_URL": _is_verified(self.streams_url),
            "CLOFY_OPENAI_ENDPOINT": self.openai_endpoint.startswith("https://"),
            "CLOFY_STRIPE_API_BASE": self.stripe_api_base.startswith("https://"),
        }
        faults = [f"{name} must be encrypted and verified" for name, fine in clear.items() if not fine]
        if self.vault_token.get_secret_value():
            faults.append("CLOFY_VAULT_TOKEN is for the sandbox: production has an identity")
        if self.blob_connection_string.get_secret_value():
            faults.append("CLOFY_BLOB_CONNECTION_STRING is for the sandbox: production has an identity")
        if faults:
            raise ValueError("; ".join(faults))
        return self


SETTING_OF = {
    Secret.SECRET_KEY: "secret_key",
    Secret.FIELD_KEY: "field_key",
    Secret.SNAPSHOT_KEY: "snapshot_key",
    Secret.OPENAI_API_KEY: "openai_api_key",
    Secret.STRIPE_API_KEY: "stripe_api_key",
    Secret.STRIPE_WEBHOOK_SECRET: "stripe_webhook_secrets",
    Secret.SMTP_PASSWORD: "smtp_url",  # a part of it
}


@cache
def settings() -> Settings:
    """The settings of this process; a missing or wrong variable stops it at start."""
    return Settings()
