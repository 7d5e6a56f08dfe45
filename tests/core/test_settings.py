"""What production refuses to start with."""

import os
from typing import Any

import pytest
from pydantic import ValidationError

from core.settings import Settings

DATABASE = "postgresql+asyncpg://clofy:{password}@db:5432/clofy{query}"
FINE: dict[str, Any] = {
    "environment": "production",
    "public_url": "https://clofy.cloud",
    "vault_url": "https://clofy.vault.azure.net",
    "database_url": DATABASE.format(password="word", query="?ssl=verify-full"),
    "redis_url": "rediss://:word@redis:6380/0?ssl_cert_reqs=required",
    "openai_endpoint": "https://clofy.openai.azure.com",
    "openai_deployment": "gpt",
    "smtp_url": "smtps://mail.clofy.cloud",
}


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLOFY_")]:
        monkeypatch.delenv(name)


def refused(**changes: Any) -> str:
    try:
        Settings(_env_file=None, **FINE | changes)
    except ValidationError as error:
        return str(error)
    return ""


def test_what_is_encrypted_and_verified_is_taken() -> None:
    assert refused() == ""
    assert refused(streams_redis_url="rediss://:word@streams:6380/0?ssl_check_hostname=true") == ""


@pytest.mark.parametrize(
    "query", ["ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs=optional", "ssl_check_hostname=false"]
)
@pytest.mark.parametrize("name", ["redis_url", "streams_redis_url"])
def test_redis_is_not_spoken_to_unverified(name: str, query: str) -> None:
    assert f"CLOFY_{name.upper()} must be encrypted and verified" in refused(**{name: f"rediss://redis:6380/0?{query}"})


@pytest.mark.parametrize(
    ("password", "query"),
    [
        ("word", ""),
        ("word", "?ssl=require"),
        ("ssl=verify-full", ""),
        ("w?ssl=verify-full&", ""),
        ("ssl=verify-full", "?ssl=prefer"),
    ],
)
def test_a_password_does_not_stand_for_a_checked_certificate(password: str, query: str) -> None:
    url = DATABASE.format(password=password, query=query)

    assert "CLOFY_DATABASE_URL must be encrypted and verified" in refused(database_url=url)


def test_a_part_of_the_house_needs_its_own_secrets_alone() -> None:
    with_password = {"smtp_url": "smtps://clofy:word@mail.clofy.cloud", "vault_url": ""}
    its_own = {"secret_key": "5b0f7c1e9a3d4826" * 2, "openai_api_key": "5b0f7c1e9a3d"}

    assert refused(part="beat", **with_password) == ""
    assert refused(part="worker-ai", **with_password, **its_own) == ""
    assert "CLOFY_OPENAI_API_KEY is empty" in refused(part="worker-ai", **with_password)
    assert "CLOFY_STRIPE_API_KEY is empty" in refused(**with_password, **its_own)
