"""The application: blueprints, errors, headers, and what is opened while serving."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from quart import Blueprint, Quart
from quart.sessions import NullSession, SessionInterface

from core import direct, queue, secrets
from core import jobs as core_jobs
from core.privacy import restores
from core.telemetry import start_logging
from web import (
    accounts,
    addresses,
    admin,
    admin_mail,
    admin_privacy,
    audit,
    billing,
    blog,
    blog_desk,
    consents,
    consultations,
    counting,
    credits,  # noqa: A004  # the noun of the house
    endings,
    erasure,
    errors,
    exports,
    factors,
    inputs,
    jobs,
    kept,
    live,
    mails,
    media,
    notices,
    openapi,
    pages,
    passwords,
    policies,
    privacy,
    probes,
    receipts,
    security,
    session,
    sign_in,
    team_views,
    teams,
    waiting,
)
from web.pages import admin_mail as admin_mail_pages
from web.pages import admin_privacy as admin_privacy_pages
from web.pages import blog as blog_pages
from web.pages import blog_desk as blog_desk_pages
from web.pages import erasure as erasure_pages
from web.pages import factors as factor_pages
from web.pages import notices as notice_pages
from web.pages import password_pages
from web.pages import policies as policy_pages
from web.pages import privacy as privacy_pages
from web.pages import teams as team_pages

BLUEPRINTS: tuple[Blueprint, ...] = (
    probes.blueprint,
    accounts.blueprint,
    sign_in.blueprint,
    factors.blueprint,
    billing.blueprint,
    credits.blueprint,
    receipts.blueprint,
    exports.blueprint,
    privacy.blueprint,
    admin_privacy.blueprint,
    consultations.blueprint,
    jobs.blueprint,
    live.blueprint,
    admin.blueprint,
    audit.blueprint,
    notices.blueprint,
    mails.blueprint,
    media.blueprint,
    admin_mail.blueprint,
    passwords.blueprint,
    waiting.blueprint,
    addresses.blueprint,
    erasure.blueprint,
    teams.blueprint,
    team_views.blueprint,
    pages.blueprint,
    factor_pages.blueprint,
    erasure_pages.blueprint,
    blog.blueprint,
    blog_desk.blueprint,
    blog_pages.blueprint,
    blog_desk_pages.blueprint,
    password_pages.blueprint,
    notice_pages.blueprint,
    team_pages.blueprint,
    admin_mail_pages.blueprint,
    policies.blueprint,
    consents.blueprint,
    policy_pages.blueprint,
    admin_privacy_pages.blueprint,
    privacy_pages.blueprint,
)

BODY_TIME = 20  # seconds in which a body must have arrived
ANSWER_TIME = 60  # seconds in which a slow reader must have taken its answer


class _NoCookieSessions(SessionInterface):
    """Quart's own sessions are off: ours are rows (web/session.py), so that signing out ends them."""

    nothing = NullSession()

    async def open_session(self, app: Quart, request: Any) -> NullSession:  # noqa: ARG002  # Quart's own signature
        return self.nothing

    async def save_session(self, app: Quart, session: Any, response: Any) -> None:
        raise NotImplementedError  # a null session is never saved


class Clofy(Quart):
    request_class = inputs.Request
    asgi_http_class = inputs.Connection
    session_interface = _NoCookieSessions()  # type: ignore[assignment]  # Quart declares its default's own class

    def log_exception(self, _info: Any) -> None:
        """Nothing: web/errors.py writes each unexpected error down once, with its request id."""


def create_app() -> Quart:
    """The web application. A wrong setting, or a route that does not say who may call it, stops the start."""
    app = Clofy("web", static_folder=None, template_folder="pages/templates")
    app.config.update(
        MAX_CONTENT_LENGTH=inputs.BODY_LIMIT,
        BODY_TIMEOUT=BODY_TIME,
        RESPONSE_TIMEOUT=ANSWER_TIME,
        SEND_FILE_MAX_AGE_DEFAULT=None,
    )
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["site"] = security.make_site()
    core_jobs.refuse_unknown_ends()
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    openapi.install(app)
    inputs.Request.body_limits = {
        rule.rule: limit
        for rule in app.url_map.iter_rules()
        if (limit := getattr(app.view_functions[rule.endpoint], inputs.BODY_LIMIT_MARK, None)) is not None
    }
    inputs.Request.streamed_paths = tuple(
        inputs.pattern_of(rule)
        for rule in app.url_map.iter_rules()
        if hasattr(app.view_functions[rule.endpoint], inputs.STREAMED_MARK)
    )
    errors.install(app)
    kept.install(app)
    security.install(app)
    session.install(app)
    counting.install(app)
    app.before_serving(_start)
    app.while_serving(_keep_secrets)
    app.before_serving(live.open_hub)
    app.before_serving(endings.start)
    app.after_serving(endings.stop)
    app.after_serving(live.close_hub)
    app.after_serving(queue.close_doorbell)
    app.after_serving(direct.close_connections)
    app.extensions["kept"] = app.asgi_app = kept.KeptPages(app.asgi_app, app.extensions["site"])  # type: ignore[method-assign]
    app.asgi_app = live.LiveSockets(app.asgi_app, app.extensions["site"])  # type: ignore[method-assign]
    return app


async def _start() -> None:
    start_logging("web")
    await secrets.load()
    await restores.wait_until_ended()


async def _keep_secrets() -> AsyncGenerator[None]:
    keeper = asyncio.create_task(secrets.keep_fresh(), name="secrets")
    yield
    keeper.cancel()
