"""The API as programs read of it, at /openapi.json: what a route answers is said beside it, the rest follows."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import TypeAdapter
from quart import Quart
from quart.typing import ResponseReturnValue
from quart_schema import Info, OpenAPIProvider, QuartSchema, hide
from werkzeug.routing import BaseConverter, Rule, UUIDConverter

from web import inputs
from web.replay import LONGEST_KEY
from web.security import SAFE_METHODS
from web.session import FOR_ADMINS, MARK, NEEDS_ACCOUNT, Permission, open_to_all
from web.shapes import Problem

API_VERSION = "0.1.0"
ANSWERS, QUERY, PROBLEMS, KEYED = "clofy_answers", "clofy_query", "clofy_problems", "clofy_keyed"
MATCHED = "clofy_matched"
REF = "#/components/schemas/{model}"
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key gets the same answer again, and nothing is done twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
VERSION = {
    "name": "If-Match",
    "in": "header",
    "description": "The ETag of what is changed, as it was read.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]{0,8}"$'},
}
AFTER_NUMBER = {"type": "string", "pattern": "^[0-9]{0,18}$"}
AFTER_ID = {"anyOf": [{"const": ""}, {"type": "string", "format": "uuid"}]}

F = TypeVar("F", bound=Callable[..., Any])


def answers(shape: Any, *, status: int = 200, problems: Iterable[int] = (), keyed: bool = False) -> Callable[[F], F]:
    """Say what a route answers, for the description alone: nothing is checked when it is called.

    shape: a TypedDict of web/shapes.py; None for an answer without content; for a file its type, as "application/pdf"
    problems: the statuses that follow from what this route does, beside those that follow from its kind
    keyed: whether it honours Idempotency-Key
    """

    def decorator(function: F) -> F:
        setattr(function, ANSWERS, {**getattr(function, ANSWERS, {}), status: shape})
        setattr(function, PROBLEMS, {*getattr(function, PROBLEMS, ()), *problems})
        setattr(function, KEYED, keyed or getattr(function, KEYED, False))
        return function

    return decorator


def query(**schemas: dict[str, Any]) -> Callable[[F], F]:
    """Say what a route takes in its query, each of it optional."""

    def decorator(function: F) -> F:
        setattr(function, QUERY, schemas)
        return function

    return decorator


def matched(function: F) -> F:
    """Say that a route changes only what is still as its caller has read it."""
    setattr(function, MATCHED, True)
    return function


class _Description(OpenAPIProvider):
    def generate_rules(self) -> Iterable[Rule]:
        """The calls of programs; pages and their files are for people."""
        return [rule for rule in super().generate_rules() if rule.rule.startswith(("/api/", "/webhooks/"))]

    def operation_id(self, _method: str, _path: str, func: Callable[..., Any]) -> str:
        return f"{func.__module__.rpartition('.')[2]}_{func.__name__}"

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        if isinstance(converter, UUIDConverter):
            parameter["schema"]["format"] = "uuid"
        return parameter

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        function = self._app.view_functions[rule.endpoint]
        for operations in paths.values():
            for method, operation in operations.items():
                self._add(operation, components, function, unsafe=method.upper() not in SAFE_METHODS)
        return paths, components

    def _add(
        self, operation: dict[str, Any], components: dict[str, Any], function: Callable[..., Any], *, unsafe: bool
    ) -> None:
        """What quart-schema does not know: answers as TypedDicts, our problems, who may call."""
        permission = getattr(function, MARK)
        needed: dict[str, list[str]] = {}
        problems = {400, 503, *getattr(function, PROBLEMS, ())}
        if permission in NEEDS_ACCOUNT:
            needed["session"] = []
            problems |= {401, 403}  # 403: for admins without a second factor; and where a fresh sign-in is needed
        if unsafe and permission is not Permission.WEBHOOK:
            needed["csrf"] = []
            problems.add(403)
        if permission in FOR_ADMINS or any(parameter["in"] == "path" for parameter in operation["parameters"]):
            problems.add(404)
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True
            problems |= {408, 413, 415}
        operation["security"] = [needed] if needed else []
        operation["parameters"] += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in getattr(function, QUERY, {}).items()
        ]
        if getattr(function, KEYED, False):
            operation["parameters"].append(KEY)
            problems.add(409)  # another request with the same key
        if getattr(function, MATCHED, False):
            operation["parameters"].append(VERSION)
            problems.add(409)
        for status, shape in getattr(function, ANSWERS).items():
            operation["responses"][str(status)] = _response(status, shape, "application/json", components)
        for status in sorted(problems):
            operation["responses"][str(status)] = _response(status, Problem, "application/problem+json", components)


def _response(status: int, shape: Any, kind: str, components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(shape, str):
        described["content"] = {shape: {"schema": {"type": "string", "format": "binary"}}}
    elif shape is not None:
        schema = TypeAdapter(shape).json_schema(mode="serialization", ref_template=REF)
        components.update(schema.pop("$defs", {}))
        components[shape.__name__] = schema
        described["content"] = {kind: {"schema": {"$ref": REF.format(model=shape.__name__)}}}
    return described


def install(app: Quart) -> None:
    """Serve the description. quart-schema's own pages are off: they load scripts from other hosts."""
    schema = QuartSchema(
        app,
        openapi_path=None,
        info=Info(title="Clofy Cloud", version=API_VERSION),
        openapi_provider_class=_Description,
        security_schemes={
            "session": {"type": "apiKey", "in_": "cookie", "name": app.extensions["site"].session_cookie},
            "csrf": {"type": "apiKey", "in_": "header", "name": "X-CSRF-Token"},
        },
    )
    # quart-schema's own provider and its wrapper around answers build a pydantic adapter for each answer; our routes
    # answer with plain dicts.
    app.json = inputs.OrjsonProvider(app)
    del app.make_response
    written: list[dict[str, Any]] = []

    async def describe() -> ResponseReturnValue:
        if not written:
            written.append(schema.openapi_provider.schema())
        return written[0]

    app.add_url_rule("/openapi.json", "openapi", open_to_all(hide(describe)))
