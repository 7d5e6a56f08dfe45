"""What an operator may set, all of it as CLOFY_*; two more are of a worker's container (workers/app.py, process.py)."""

from enum import StrEnum
from functools import cache
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Environment(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


WEAK_SECRETS = {"", "secret", "changeme", "change-me", "password", "test", "default"}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="CLOFY_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # what was set may be a secret, and this error goes to the log
    )

    environment: Environment = Environment.PRODUCTION
    public_url: str = Field(pattern=r"^https?://[^/]+$")
    secret_key: SecretStr = Field(min_length=32)  # keys the hashes of codes and the CSRF tokens
    database_url: str = Field(pattern=r"^postgresql\+asyncpg://")
    redis_url: str = Field(pattern=r"^rediss?://")
    streams_redis_url: str = ""  # empty: the broker's
    openai_endpoint: str = Field(pattern=r"^https?://")
    openai_api_key: SecretStr = Field(min_length=1)
    openai_deployment: str = Field(min_length=1)
    openai_api_version: str = "2024-10-21"
    stripe_api_key: SecretStr = Field(min_length=1)
    stripe_api_base: str = "https://api.stripe.com"
    stripe_webhook_secrets: SecretStr = Field(
        min_length=1
    )  # several during a roll, with commas between; empty would verify any forgery
    smtp_url: str = Field(pattern=r"^smtps?://")
    mail_from: str = "Clofy Cloud <no-reply@clofy.cloud>"

    @property
    def streams_url(self) -> str:
        return self.streams_redis_url or self.redis_url

    @property
    def webhook_secrets(self) -> list[str]:
        return [one.strip() for one in self.stripe_webhook_secrets.get_secret_value().split(",") if one.strip()]

    @model_validator(mode="after")
    def fit_for_production(self) -> Self:
        """Refuse, in production, what would carry or guard people's words in the clear, and say which."""
        if self.environment is not Environment.PRODUCTION:
            return self
        clear = {
            "CLOFY_PUBLIC_URL": urlsplit(self.public_url).scheme == "https",
            "CLOFY_DATABASE_URL": "ssl=verify-full" in self.database_url,
            "CLOFY_REDIS_URL": self.redis_url.startswith("rediss://") and "ssl_cert_reqs=none" not in self.redis_url,
            "CLOFY_STREAMS_REDIS_URL": self.streams_url.startswith("rediss://"),
            "CLOFY_OPENAI_ENDPOINT": self.openai_endpoint.startswith("https://"),
            "CLOFY_STRIPE_API_BASE": self.stripe_api_base.startswith("https://"),
        }
        faults = [f"{name} must be encrypted and verified" for name, fine in clear.items() if not fine]
        secrets = {
            "CLOFY_SECRET_KEY": [self.secret_key.get_secret_value()],
            "CLOFY_OPENAI_API_KEY": [self.openai_api_key.get_secret_value()],
            "CLOFY_STRIPE_API_KEY": [self.stripe_api_key.get_secret_value()],
            "CLOFY_STRIPE_WEBHOOK_SECRETS": self.webhook_secrets or [""],
        }
        faults += [
            f"{name} is empty or a default"
            for name, values in secrets.items()
            if any(value.strip().lower() in WEAK_SECRETS or len(set(value)) < 6 for value in values)
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self


@cache
def settings() -> Settings:
    """The settings of this process; a missing or wrong variable stops it at start."""
    return Settings()
