"""Browsers that an account is known in: a cookie that we signed, and nothing that we keep.

It opens nothing. It gives a browser where somebody signed in before a count of tries of its own (core/limits.py), so
that a stranger who uses up the tries for an account does not keep its owner out; and a sign-in there is no news.

A key of ours lives shorter than the cookie: a browser in use gets one by the new key while the old one is accepted.
"""

import base64
import hmac
import secrets
from datetime import timedelta

from core.accounts.addresses import parse_address
from core.errors import InvalidInput
from core.secrets import is_signed, sign

KNOWN_FOR = timedelta(days=365)  # at most; one that is not used in the week after a change of keys, until then
MARK = 22  # characters of 128 random bits


def make(email: str) -> str:
    """The cookie for a browser where the owner of this address is signed in."""
    mark = secrets.token_urlsafe(16)
    return f"{mark}.{base64.urlsafe_b64encode(sign(_to_sign(email, mark))).decode()}"


def known(cookie: str | None, *, email: str) -> str:
    """The mark of the browser if the owner of this address was signed in there; else empty."""
    mark, signature = _taken_apart(cookie)
    try:
        signed = bool(mark) and is_signed(_to_sign(email, mark), signature)
    except InvalidInput:  # no address
        return ""
    return f"browser:{mark}" if signed else ""


def lasts(cookie: str | None, *, email: str) -> bool:
    """Whether the browser is known by the key of now, not by one that will soon be accepted no more."""
    mark, signature = _taken_apart(cookie)
    return bool(mark) and hmac.compare_digest(sign(_to_sign(email, mark)), signature)


def _taken_apart(cookie: str | None) -> tuple[str, bytes]:
    """Mark and signature; empty if it is no cookie of ours."""
    mark, _, signature = (cookie or "").partition(".")
    try:
        return (mark, base64.urlsafe_b64decode(signature)) if len(mark) == MARK else ("", b"")
    except ValueError:
        return "", b""


def _to_sign(email: str, mark: str) -> bytes:
    return f"known-browser:{mark}:{parse_address(email).key}".encode("utf-8", "surrogateescape")
