"""The knobs of all stand-ins at one address, and the process that serves Stripe, the inbox and the knobs.

GET    /control          {"openai": {"knobs", "stats"}, "stripe": ..., "mail": ..., "vault": ...}
PATCH  /control          the same without "knobs", as {"openai": {"gap_ms": 5, "fail": {"status": 429, "times": 2}}};
                         POST does the same. What each knob means is said at the `Knobs` of openai_knobs.py,
                         stripe_webhooks.py and inbox.py. A knob that does not exist is a 400.
POST   /control/vault/rotate/NAME   a new version of a secret (vault.py)
POST   /control/reset    all knobs and counts as at the start; payments and mails stay
POST   /control/stripe/  sessions/ID/{pay,settle,expire}, refunds, refunds/ID/finish, disputes, disputes/ID/close,
                         events/ID/resend: what payers and banks do (stripe_pay.py)
"""

import argparse
import asyncio
import contextlib
import os
import ssl
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Quart, Response, request

from sandbox import inbox as mail
from sandbox import stripe_api, stripe_pay
from sandbox import stripe_webhooks as webhooks
from sandbox.pages import page


class Patch(BaseModel):
    """What PATCH /control takes."""

    model_config = ConfigDict(extra="forbid")

    openai: dict[str, Any] = Field(default_factory=dict)
    stripe: dict[str, Any] = Field(default_factory=dict)
    mail: dict[str, Any] = Field(default_factory=dict)
    vault: dict[str, Any] = Field(default_factory=dict)


class Control:
    """The knobs of all. Without `openai_url` the model is somebody else's, and has none; the vault likewise."""

    def __init__(
        self, stripe: stripe_api.StripeApi, inbox: mail.Inbox, openai_url: str, vault: httpx.AsyncClient | None
    ) -> None:
        self.stripe, self.inbox, self.vault = stripe, inbox, vault
        self.model = httpx.AsyncClient(base_url=openai_url, trust_env=False) if openai_url else None
        self.others = {name: one for name, one in (("openai", self.model), ("vault", vault)) if one is not None}

    async def show(self) -> Response:
        told: dict[str, Any] = {name: (await one.get("/control")).json() for name, one in self.others.items()}
        for name, part in (("stripe", self.stripe.webhooks), ("mail", self.inbox)):
            told[name] = {"knobs": part.knobs.model_dump(), "stats": part.stats.model_dump()}
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            shown = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()
            return Response(page("Knobs", f"<p>PATCH /control turns them.</p><pre>{shown}</pre>"))
        return Response(orjson.dumps(told), content_type="application/json")

    async def turn(self) -> Response:
        try:
            patch = Patch.model_validate_json(await request.get_data() or b"{}")
            of_stripe = webhooks.Knobs.model_validate(self.stripe.knobs.model_dump() | patch.stripe)
            of_mail = mail.Knobs.model_validate(self.inbox.knobs.model_dump() | patch.mail)
        except ValidationError as error:
            return Response(orjson.dumps({"error": str(error)}), 400, content_type="application/json")
        for name, one in self.others.items():
            if knobs := getattr(patch, name):
                turned = await one.patch("/control", json=knobs)
                if turned.is_error:
                    return Response(turned.content, turned.status_code, content_type="application/json")
        if patch.stripe:
            self.stripe.webhooks.turn(of_stripe)
        if patch.mail:
            self.inbox.knobs = of_mail
        return await self.show()

    async def rotate(self, name: str) -> Response:
        if self.vault is None:
            return Response(orjson.dumps({"error": "no vault runs here"}), 404, content_type="application/json")
        rotated = await self.vault.post(f"/control/rotate/{name}", content=await request.get_data())
        return Response(rotated.content, rotated.status_code, content_type="application/json")

    async def reset(self) -> Response:
        for one in self.others.values():
            (await one.post("/control/reset")).raise_for_status()
        self.stripe.reset()
        self.inbox.reset()
        return await self.show()

    async def begin(self) -> None:
        self.stripe.webhooks.resume()

    async def end(self) -> None:
        await self.stripe.webhooks.close()
        for one in self.others.values():
            await one.aclose()


async def home() -> str:
    return page("The cloud on one machine", "<p>Mail that the service sent, payments made, and the knobs.</p>")


async def healthz() -> str:
    return "ok"


def create_app(
    stripe: stripe_api.StripeApi,
    inbox: mail.Inbox,
    openai_url: str,
    *,
    vault: httpx.AsyncClient | None = None,
    with_stripe: bool = True,
) -> Quart:
    """The app at sandbox_url."""
    app, control = Quart(__name__), Control(stripe, inbox, openai_url, vault)
    app.register_blueprint(mail.blueprint(inbox))
    if with_stripe:
        app.register_blueprint(stripe_api.blueprint(stripe))
        app.register_blueprint(stripe_pay.blueprint(stripe))
    app.add_url_rule("/", view_func=home)
    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/control", "show", control.show)
    app.add_url_rule("/control", "turn", control.turn, methods=["POST", "PATCH"])
    app.add_url_rule("/control/reset", "reset", control.reset, methods=["POST"])
    app.add_url_rule("/control/vault/rotate/<name>", "rotate", control.rotate, methods=["POST"])
    app.before_serving(control.begin)
    app.after_serving(control.end)
    return app


async def serve(arguments: argparse.Namespace) -> None:
    """Serve HTTP and SMTP until a signal."""
    inbox = mail.Inbox(arguments.directory)
    stripe = stripe_api.StripeApi(
        arguments.directory,
        key=os.environ["CLOFY_STRIPE_API_KEY"],
        webhook_secret=os.environ["CLOFY_STRIPE_WEBHOOK_SECRETS"].split(",")[0],
        knobs=webhooks.Knobs(webhook_url=arguments.webhook_url),
    )
    stripe.url = arguments.public_url or f"http://127.0.0.1:{arguments.port}"
    vault = None
    if arguments.vault_url:
        believed = ssl.create_default_context(cafile=arguments.vault_ca)
        vault = httpx.AsyncClient(base_url=arguments.vault_url, verify=believed, trust_env=False)
    app = create_app(stripe, inbox, arguments.openai_url, vault=vault, with_stripe=not arguments.no_stripe)
    settings = uvicorn.Config(
        app, host=arguments.host, port=arguments.port, log_level="warning", lifespan="on", timeout_graceful_shutdown=1
    )
    async with contextlib.AsyncExitStack() as stack:
        if not arguments.no_mail:
            await stack.enter_async_context(await mail.listen(inbox, arguments.smtp_port, host=arguments.host))
        await uvicorn.Server(settings).serve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--public-url", default="", help="where payers reach the page to pay on, if elsewhere")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--openai-url", default="")
    parser.add_argument("--vault-url", default="")
    parser.add_argument("--vault-ca", help="the authority by which to believe it")
    parser.add_argument("--no-stripe", action="store_true")
    parser.add_argument("--no-mail", action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
