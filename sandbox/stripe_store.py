"""What the stand-in of Stripe keeps: objects by id in a journal on disk, and the reading of them as Stripe allows."""

import operator
import secrets
import string
import time
from pathlib import Path
from typing import Any

import orjson

Object = dict[str, Any]
LETTERS = string.ascii_letters + string.digits
KINDS = {  # the first part of an id tells what it names
    "cs": "checkout.session",
    "pi": "payment_intent",
    "ch": "charge",
    "cus": "customer",
    "re": "refund",
    "dp": "dispute",
    "evt": "event",
    "txn": "balance_transaction",
}


class StripeError(Exception):
    """A refusal as Stripe words it."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, **more}}


def new_id(prefix: str, length: int = 24) -> str:
    return f"{prefix}_" + "".join(secrets.choice(LETTERS) for _ in range(length))


def now() -> int:
    return int(time.time())


class Store:
    """Objects in the order in which they were made; each change is a line of the journal."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.objects: dict[str, Object] = {}
        if journal.exists():
            for line in journal.read_bytes().splitlines():
                try:
                    kept = orjson.loads(line)
                except orjson.JSONDecodeError:  # cut off when the machine stopped
                    continue
                self.objects[kept["id"]] = kept
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.write_bytes(b"".join(orjson.dumps(kept) + b"\n" for kept in self.objects.values()))
        self.file = journal.open("ab", buffering=0)

    def put(self, kept: Object) -> Object:
        """Keep it, new or changed."""
        self.objects[kept["id"]] = kept
        self.file.write(orjson.dumps(kept) + b"\n")
        return kept

    def clear(self) -> None:
        self.objects.clear()
        self.file.truncate(0)

    def find(self, kind: str, name: str, param: str = "id") -> Object:
        """Raises Stripe's "No such ..." for a name that is not there, or is of another kind."""
        found = self.objects.get(name)
        if found is None or found["object"] != kind:
            said = f"No such {kind}: '{name}'"
            raise StripeError(404, said, code="resource_missing", param=param)
        return found

    def all(self, kind: str, **equal: Any) -> list[Object]:
        """Those of a kind whose fields equal what is given (None asks for nothing); the newest first."""
        asked = {name: value for name, value in equal.items() if value is not None}
        return [
            one
            for one in reversed(self.objects.values())
            if one["object"] == kind and all(one.get(name) == value for name, value in asked.items())
        ]

    def page(self, url: str, found: list[Object], query: Object) -> Object:
        """A part of a list by `limit`, `starting_after`, `ending_before` and `created`."""
        for bound, keeps in CREATED.items():
            wanted = query.get("created", {})
            if isinstance(wanted, dict) and bound in wanted:
                found = [one for one in found if keeps(one["created"], int(wanted[bound]))]
        names = [one["id"] for one in found]
        limit = min(max(int(query.get("limit", 10)), 1), 100)
        if after := query.get("starting_after"):
            found = found[names.index(after) + 1 :] if after in names else []
        before = query.get("ending_before")
        if before:
            found = found[: names.index(before)] if before in names else []
        part = found[-limit:] if before else found[:limit]
        return {"object": "list", "url": url, "has_more": len(found) > len(part), "data": part}

    def expanded(self, answer: Object, paths: list[str]) -> Object:
        """A copy with what `expand[]` names put in the place of its id."""
        copy: Object = orjson.loads(orjson.dumps(answer))
        for path in paths:
            self._expand(copy, path.split("."))
        return copy

    def _expand(self, at: Any, path: list[str]) -> None:
        if isinstance(at, list):
            for one in at:
                self._expand(one, path)
            return
        name, rest = path[0], path[1:]
        if at.get("object") == "checkout.session" and name == "line_items":
            at[name] = line_items(at)
        if at.get("object") == "charge" and name == "refunds":
            at[name] = self.page(f"/v1/charges/{at['id']}/refunds", self.all("refund", charge=at["id"]), {})
        if name not in at:
            said = f"This property cannot be expanded ({name})."
            raise StripeError(400, said, param="expand")
        value = at[name]
        if isinstance(value, str) and value.split("_")[0] in KINDS:
            value = at[name] = orjson.loads(orjson.dumps(self.objects[value]))
        if rest and value is not None:
            self._expand(value, rest)

    @staticmethod
    def public(kept: Object) -> Object:
        """Without what Stripe does not show: our own notes begin with an underscore."""
        return {name: value for name, value in kept.items() if not name.startswith("_")}


CREATED = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def line_items(session: Object) -> Object:
    items = session.get("_line_items", [])
    return {
        "object": "list",
        "url": f"/v1/checkout/sessions/{session['id']}/line_items",
        "has_more": False,
        "data": items,
    }
