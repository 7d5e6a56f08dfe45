"""A stand-in of Azure Key Vault: its REST protocol for secrets, over TLS, under an authority of its own.

PUT    /secrets/NAME             a new version; the newest enabled one is what is asked for by name
GET    /secrets/NAME[/VERSION]   a value; GET /secrets/NAME/versions lists them, 25 on a page
PATCH  /secrets/NAME/VERSION     attributes: enabled, nbf, exp
GET    /control                  names, versions and knobs, no value; PATCH turns knobs, POST /control/reset all back
POST   /control/rotate/NAME      a new random value, or that of the body's "value"

Everything under /secrets wants `?api-version=` and the bearer token that was given as CLOFY_VAULT_TOKEN; who comes
without is told where to get one, as Key Vault does. The first versions are those of the settings (CLOFY_*).
"""

import argparse
import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Quart, Response, request

from sandbox.certificates import make_certificates

PAGE = 25  # versions on a page, Key Vault's own default
CHALLENGE = 'Bearer authorization="https://login.microsoftonline.com/{tenant}", resource="https://vault.azure.net"'
TENANT = "00000000-0000-0000-0000-000000000000"
NAMES = {
    "secret-key": "CLOFY_SECRET_KEY",
    "field-key": "CLOFY_FIELD_KEY",
    "snapshot-key": "CLOFY_SNAPSHOT_KEY",
    "openai-api-key": "CLOFY_OPENAI_API_KEY",
    "stripe-api-key": "CLOFY_STRIPE_API_KEY",
    "stripe-webhook-secret": "CLOFY_STRIPE_WEBHOOK_SECRETS",
}


class Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    down: bool = False  # every request for a secret is a 503
    latency_ms: int = Field(default=0, ge=0)
    ahead_s: int = 0  # how far its clock is ahead of ours, for who moves the product's


class Attributes(BaseModel):
    """What a version is besides its value; times in seconds since 1970."""

    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None


class Version(BaseModel):
    id: str = Field(default_factory=lambda: uuid4().hex)
    value: str
    created: int
    attributes: Attributes = Field(default_factory=Attributes)


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Vault:
    """The secrets, in a file for us alone, so that a sandbox finds them again."""

    def __init__(self, directory: Path, *, token: str, first: dict[str, str]) -> None:
        self.token, self.knobs, self.requests = token, Knobs(), 0
        self.file = directory / "vault.json"
        kept = orjson.loads(self.file.read_bytes()) if self.file.exists() else {}
        self.secrets = {name: [Version.model_validate(one) for one in versions] for name, versions in kept.items()}
        for name, value in first.items():
            if name not in self.secrets:
                self.add(name, value)

    def now(self) -> int:
        return int(time.time()) + self.knobs.ahead_s

    def add(self, name: str, value: str, attributes: Attributes | None = None) -> Version:
        version = Version(value=value, created=self.now(), attributes=attributes or Attributes())
        self.secrets.setdefault(name, []).insert(0, version)
        self.save()
        return version

    def save(self) -> None:
        unfinished = self.file.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(
            orjson.dumps({name: [one.model_dump() for one in each] for name, each in self.secrets.items()})
        )
        unfinished.replace(self.file)

    def find(self, name: str, version_id: str | None = None) -> Version:
        """A version, the newest if none is named. Raises Refusal."""
        found = [one for one in self.secrets.get(name, []) if version_id in (None, one.id)]
        if not found:
            raise Refusal(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")
        return found[0]

    def check(self) -> None:
        """Whether this request may have an answer. Raises Refusal."""
        self.requests += 1
        if self.knobs.down:
            raise Refusal(503, "ServiceUnavailable", "The sandbox's vault was told to be down.")
        if not secrets.compare_digest(request.headers.get("Authorization", ""), f"Bearer {self.token}"):
            raise Refusal(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
        if "api-version" not in request.args:
            raise Refusal(400, "BadParameter", "The request URI does not have an api-version.")


def shape(name: str, version: Version, *, value: bool) -> dict[str, Any]:
    """A version as Key Vault shows it."""
    attributes = {
        **version.attributes.model_dump(exclude_none=True),
        "created": version.created,
        "updated": version.created,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    }
    shown = {"id": f"https://{request.host}/secrets/{name}/{version.id}", "attributes": attributes, "tags": {}}
    return shown | ({"value": version.value} if value else {})


def answer(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json; charset=utf-8")


def create_app(vault: Vault) -> Quart:
    app = Quart(__name__)

    @app.errorhandler(Refusal)
    async def refuse(refusal: Refusal) -> Response:
        response = answer({"error": {"code": refusal.code, "message": str(refusal)}}, refusal.status)
        if refusal.status == 401:
            response.headers["WWW-Authenticate"] = CHALLENGE.format(tenant=TENANT)
        return response

    @app.before_request
    async def check() -> None:
        if request.path.startswith("/secrets"):
            await asyncio.sleep(vault.knobs.latency_ms / 1000)
            vault.check()

    @app.put("/secrets/<name>")
    async def put(name: str) -> Response:
        body = orjson.loads(await request.get_data())
        attributes = Attributes.model_validate(body.get("attributes") or {})
        return answer(shape(name, vault.add(name, body["value"], attributes), value=True))

    @app.get("/secrets/<name>")
    @app.get("/secrets/<name>/")
    @app.get("/secrets/<name>/<version_id>")
    async def get(name: str, version_id: str | None = None) -> Response:
        version = vault.find(name, version_id)
        if not version.attributes.enabled:
            raise Refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.")
        return answer(shape(name, version, value=True))

    @app.get("/secrets/<name>/versions")
    async def versions(name: str) -> Response:
        every, at = vault.secrets.get(name, []), int(request.args.get("$skiptoken", 0))
        more = at + PAGE < len(every)
        link = f"https://{request.host}{request.path}?api-version={request.args['api-version']}&$skiptoken={at + PAGE}"
        page = [shape(name, one, value=False) for one in every[at : at + PAGE]]
        return answer({"value": page, "nextLink": link if more else None})

    @app.patch("/secrets/<name>/<version_id>")
    async def patch(name: str, version_id: str) -> Response:
        version = vault.find(name, version_id)
        changes = orjson.loads(await request.get_data()).get("attributes") or {}
        version.attributes = Attributes.model_validate(version.attributes.model_dump() | changes)
        vault.save()
        return answer(shape(name, version, value=False))

    add_control(app, vault)
    return app


def add_control(app: Quart, vault: Vault) -> None:
    """The knobs, for people and tests of this machine."""

    @app.get("/control")
    async def show() -> Response:
        told = {name: [one.model_dump(exclude={"value"}) for one in each] for name, each in vault.secrets.items()}
        return answer({"knobs": vault.knobs.model_dump(), "stats": {"requests": vault.requests}, "secrets": told})

    @app.patch("/control")
    async def turn() -> Response:
        try:
            vault.knobs = Knobs.model_validate(vault.knobs.model_dump() | orjson.loads(await request.get_data()))
        except ValidationError as error:
            return answer({"error": str(error)}, 400)
        return await show()

    @app.post("/control/reset")
    async def reset() -> Response:
        vault.knobs, vault.requests = Knobs(), 0
        return await show()

    @app.post("/control/rotate/<name>")
    async def rotate(name: str) -> Response:
        vault.find(name)
        value = orjson.loads(await request.get_data() or b"{}").get("value", secrets.token_hex(32))
        return answer({"version": vault.add(name, value).id})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    first = {name: os.environ[setting].split(",")[0] for name, setting in NAMES.items() if os.environ.get(setting)}
    given.directory.mkdir(parents=True, exist_ok=True)
    authority = make_certificates(given.directory, "127.0.0.1")
    vault = Vault(given.directory, token=os.environ["CLOFY_VAULT_TOKEN"], first=first)
    uvicorn.run(
        create_app(vault),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        ssl_certfile=authority.certificate,
        ssl_keyfile=authority.key,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
