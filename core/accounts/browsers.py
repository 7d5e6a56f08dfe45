"""Browsers that an account is known in: a cookie that we signed, and nothing that we keep.

It opens nothing. It gives a browser where somebody signed in before a count of tries of its own (core/limits.py), so
that a stranger who uses up the tries for an account does not keep its owner out.
"""

import base64
import secrets
from datetime import timedelta

from core.accounts.addresses import parse_address
from core.errors import InvalidInput
from core.secrets import is_signed, sign

KNOWN_FOR = timedelta(days=365)  # from its last page that was opened signed in
MARK = 22  # characters of 128 random bits


def make(email: str) -> str:
    """The cookie for a browser where the owner of this address is signed in."""
    mark = secrets.token_urlsafe(16)
    return f"{mark}.{base64.urlsafe_b64encode(sign(_to_sign(email, mark))).decode()}"


def known(cookie: str | None, *, email: str) -> str:
    """The mark of the browser if the owner of this address was signed in there; else empty."""
    mark, _, signature = (cookie or "").partition(".")
    try:
        signed = len(mark) == MARK and is_signed(_to_sign(email, mark), base64.urlsafe_b64decode(signature))
    except (ValueError, InvalidInput):  # no base64, or no address
        return ""
    return f"browser:{mark}" if signed else ""


def _to_sign(email: str, mark: str) -> bytes:
    return f"known-browser:{mark}:{parse_address(email).key}".encode("utf-8", "surrogateescape")
