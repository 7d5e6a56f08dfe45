"""Whether a password is known from a data theft, asked without telling it: the first five figures of its SHA-1 only.

Off unless CLOFY_BREACHED_PASSWORDS_URL names a service that speaks the protocol of Have I Been Pwned's ranges.
"""

import hashlib

import httpx
from prometheus_client import Counter

from core.settings import settings
from core.telemetry import log

SECONDS = 1.5  # somebody waits before the form

unanswered = Counter("clofy_breach_checks_unanswered", "Passwords that were taken without an answer on thefts")
logger = log(__name__)


async def is_breached(password: str) -> bool:
    """False as well when the service does not answer: its trouble must not keep people out (security.md 11)."""
    home = settings().breached_passwords_url
    if not home:
        return False
    digest = hashlib.sha1(password.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest().upper()
    try:
        # A client for each: setting a password is rare. The padding hides from a listener how many there were.
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
            answer = await client.get(f"{home}/range/{digest[:5]}", headers={"Add-Padding": "true"})
            answer.raise_for_status()
    except httpx.HTTPError as error:
        unanswered.inc()
        logger.warning("breach_check_failed", error=type(error).__name__)
        return False
    return _seen(answer.text, digest[5:]) > 0


def _seen(lines: str, rest: str) -> int:
    """How often it was seen, by the lines "REST:COUNT" of its range; padding has a count of 0."""
    for line in lines.splitlines():
        known, _, count = line.partition(":")
        if known.strip() == rest:
            return int(count) if count.strip().isdigit() else 0
    return 0
