"""Stripe's form encoding: `line_items[0][price_data][currency]=eur` is a list of objects."""

import re
from typing import Any
from urllib.parse import parse_qsl

PART = re.compile(r"[^\[\]]+|\[\]")


def decode(text: str) -> dict[str, Any]:
    """Nested dicts and lists out of a form or query; every value stays a string, as it is on the wire."""
    root: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        at, parts = root, PART.findall(key)
        for part in parts[:-1]:
            at = at.setdefault(_index(at, part), {})
        at[_index(at, parts[-1])] = value
    return {name: _lists(value) for name, value in root.items()}


def _index(at: dict[str, Any], part: str) -> str:
    return str(len(at)) if part == "[]" else part


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    return list(inner.values()) if inner and all(name.isdigit() for name in inner) else inner
