"""What went wrong, told as a problem document (RFC 9457) to programs and as a page to people."""

import math
import secrets
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jinja2 import TemplateNotFound
from pydantic import ValidationError
from quart import Quart, Response, g, redirect, render_template
from quart.globals import request_ctx, websocket_ctx
from quart.typing import ResponseReturnValue
from quart_schema.validation import RequestSchemaValidationError
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import RoutingException

from core.database import is_away
from core.direct import DatabaseAway
from core.errors import ClofyError, InvalidInput, Kind
from core.telemetry import log
from web import security
from web.inputs import to_json
from web.sparing import Sparing

STATUS: dict[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.UNPAID: 402,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.TOO_MANY: 429,
    Kind.UNAVAILABLE: 503,
}
WORTH_A_LINE = {Kind.FORBIDDEN, Kind.TOO_MANY, Kind.UNAVAILABLE}  # security.md 166: denials and limiter hits
MACHINE_PATHS = ("/api/", "/webhooks/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/live")

TEXTS = {  # instead of the framework's, which speak of servers and spelling
    404: "There is no such page.",
    405: "This address does not take that method.",
    408: "The request took too long to arrive.",
    413: "That is too large.",
}

logger = log(__name__)
_not_theirs = Sparing()


def request_id() -> str:
    """A name for this request, by which the person's problem and our log line find each other."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(8)
    made: str = g.request_id
    return made


def _asked() -> tuple[str, str]:
    """Method and path of what is being answered, a socket's handshake too."""
    if request_ctx:
        return request_ctx.request.method, request_ctx.request.path
    return "GET", websocket_ctx.websocket.path if websocket_ctx else "/live"


async def answer(status: int, *, code: str, text: str, **more: Any) -> Response:
    """The answer for a problem: a document for programs, a page for people who were reading pages."""
    _, path = _asked()
    document = {
        "type": f"urn:clofy:problem:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": text,
        "code": code,
        "request_id": request_id(),
        **more,
    }
    response = await _document_or_page(path, document)
    response.status_code = status
    return response


async def _document_or_page(path: str, document: dict[str, Any]) -> Response:
    if path.startswith(MACHINE_PATHS):
        return Response(to_json(document), mimetype="application/problem+json")
    try:
        page = await render_template(
            "problem.html",
            problem=document,
            **{key: document[key] for key in ("title", "status", "detail", "code", "request_id")},
            nonce=security.nonce(),
            csrf_token=security.csrf_token(),
            account=g.get("account"),
            credits=None,
            path=path,
        )
    except TemplateNotFound:
        return Response(f"{document['title']}\n\n{document['detail']}\n", mimetype="text/plain")
    except Exception:  # the page of last resort must not fail
        logger.exception("problem_page_failed", request_id=request_id())
        return Response(f"{document['title']}\n\n{document['detail']}\n", mimetype="text/plain")
    return Response(page, mimetype="text/html")


def invalid_fields(error: ValidationError) -> list[dict[str, str]]:
    """Each field and its rule, without the value that was sent: it may be a password."""
    return [
        {
            "field": ".".join(str(part) for part in fault["loc"]) or "body",
            "rule": fault["msg"].removeprefix("Value error, "),
        }
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


async def expected(error: ClofyError) -> ResponseReturnValue:
    method, path = _asked()
    if times := _lines_for(error):
        facts = {"method": method, "path": path, "request_id": request_id(), **_asker(), **_facts(error)}
        logger.warning("refused", code=error.code, times=times, **facts)
    sends_to = "/sign-in?next={path}" if error.kind is Kind.UNAUTHENTICATED else getattr(error, "sends_to", None)
    if sends_to and method in security.SAFE_METHODS and not path.startswith(MACHINE_PATHS):
        request = request_ctx.request
        back = request.full_path if request.query_string else path  # a link in a mail brings its code in the query
        return redirect(sends_to.replace("{path}", quote(back, safe="/")), 303)
    more: dict[str, Any] = {name: error.facts[name] for name in error.shown if name in error.facts}
    if isinstance(error, InvalidInput):
        more["errors"] = [{"field": error.field, "rule": error.rule}]
    response = await answer(STATUS[error.kind], code=error.code, text=str(error), **more)
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return response


def _asker() -> dict[str, str]:
    """Who was refused, as far as the guard came to know, and at which route."""
    account = g.get("account")
    rule = request_ctx.request.url_rule if request_ctx else None
    return {"account": str(account.id) if account else "", "ip": g.get("ip", ""), "route": rule.rule if rule else ""}


def _lines_for(error: ClofyError) -> int:
    """How many refusals a line written now tells of; 0: none is written.

    What is not there for who is signed in may be somebody else's, or an admin's: it is told, once a minute for each.
    """
    if error.kind in WORTH_A_LINE:
        return 1
    asker = _asker()
    if error.kind is not Kind.NOT_FOUND or not asker["account"] or not asker["route"]:
        return 0
    return _not_theirs.times((asker["account"], asker["route"]))


def _facts(error: ClofyError) -> dict[str, str]:
    """The error's facts as text, under a prefix, so that none can take the name of a field of the log itself."""
    return {f"fact_{name}": str(value) for name, value in error.facts.items()}


async def invalid(error: RequestSchemaValidationError) -> ResponseReturnValue:
    fault = error.validation_error
    fields = invalid_fields(fault) if isinstance(fault, ValidationError) else [{"field": "body", "rule": "must fit"}]
    return await answer(400, code="invalid-input", text="What was sent does not fit.", errors=fields)


async def http_problem(error: HTTPException) -> ResponseReturnValue:
    """What the framework refuses: no such path, method, type or size."""
    if isinstance(error, InternalServerError) and isinstance(error.original_exception, Exception):
        return await unexpected(error.original_exception)  # it went wrong after the route, as in making the answer
    if isinstance(error, RoutingException):
        return error.get_response()  # a redirect to the path as it is written
    status = error.code or 500
    response = await answer(
        status,
        code=HTTPStatus(status).phrase.lower().replace(" ", "-"),
        text=TEXTS.get(status) or error.description or HTTPStatus(status).phrase,
    )
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


async def unexpected(error: Exception) -> ResponseReturnValue:
    """Logged once, here; the person learns the request's id and nothing else."""
    if is_away(error):
        return await expected(DatabaseAway(error=type(error).__name__))
    method, path = _asked()
    logger.error("request_failed", exc_info=error, method=method, path=path, request_id=request_id())
    return await answer(500, code="internal-error", text="Something went wrong on our side. We have written it down.")


def install(app: Quart) -> None:
    app.register_error_handler(ClofyError, expected)
    app.register_error_handler(RequestSchemaValidationError, invalid)
    app.register_error_handler(HTTPException, http_problem)
    app.register_error_handler(Exception, unexpected)
