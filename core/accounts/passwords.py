"""Passwords: what is taken as one, and argon2id off the event loop."""

import asyncio
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.accounts import strength
from core.accounts.breaches import is_breached
from core.errors import InvalidInput, Unavailable

MIN_LENGTH = 15  # code points, while the password is the only factor (NIST SP 800-63B-4, 3.1.1.2)
MAX_BYTES = 1024  # before hashing; longer ones are refused, never cut (security.md 8)
MIN_DISTINCT = 5  # characters; in some scripts zxcvbn sees no pattern
WAITING = 32  # hashes asked for at once; beyond that the asker is told to come back
THREADS = min(2, os.cpu_count() or 1)  # a hash holds a core for its whole time; the event loop needs one too

BEHIND = 10  # nice(7); Linux keeps it for each thread

_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)  # OWASP ASVS 5.0, appendix C
_T = TypeVar("_T")


class Busy(Unavailable):
    """Too many people are signing in at this moment; try again in a few seconds."""

    retry_after = 3.0


class _Pool:
    """The threads that hash, and how much waits for them."""

    threads: ThreadPoolExecutor | None = None
    waiting = 0
    nobodys: str | None = None  # a hash that no password fits


def normalise(password: str) -> str:
    """One Unicode form at setting and verifying, so that two keyboards give the same password; nothing else changes."""
    return unicodedata.normalize("NFKC", password)


@dataclass(frozen=True)
class Assessment:
    """score: 0 (guessed at once) to 4. rule: which one a password breaks; None if it may be set."""

    score: int
    rule: str | None


async def assess(
    password: str, *, about: Collection[str | None] = (), line: strength.Line = strength.DECIDES
) -> Assessment:
    """How good a password is, as far as we can tell by ourselves. No rule on kinds of characters, on purpose.

    about: what is known of the person: address, name, company
    line: where it waits; the meter's keeps out nobody who sets a password
    """
    text = normalise(password)
    if len(text.encode()) > MAX_BYTES:
        return Assessment(0, f"must have at most {MAX_BYTES} bytes")
    around = strength.words_around(*about)
    score = await strength.guessability(text, around, line)
    if len(text) < MIN_LENGTH:
        return Assessment(min(score, 2), f"must have at least {MIN_LENGTH} characters")
    if strength.is_common(text):
        return Assessment(0, "must not be one that many people have")
    if strength.is_known(text, around):
        return Assessment(min(score, 1), "must have more in it than your name, your address and ours")
    if len(set(text)) < MIN_DISTINCT or score < strength.ENOUGH:
        return Assessment(min(score, 2), "must be harder to guess: take more words, without a pattern")
    return Assessment(score, None)


async def check_password(password: str, *, about: Collection[str | None] = (), field: str = "password") -> None:
    """Raise InvalidInput for a password that may not be set: `assess` says so, or it was stolen somewhere."""
    rule = (await assess(password, about=about)).rule
    if rule is None and await is_breached(normalise(password)):
        rule = "must not be one that was stolen somewhere and is tried everywhere"
    if rule is not None:
        raise InvalidInput(field=field, rule=rule)


def _step_back() -> None:
    """Give a hash a tenth of the event loop's weight: it takes what is left of a core, and pages do not wait for it."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)


async def _in_thread(call: Callable[[], _T]) -> _T:
    if _Pool.waiting >= WAITING:
        raise Busy
    if _Pool.threads is None:
        _Pool.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2", initializer=_step_back)
    _Pool.waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_Pool.threads, call)
    finally:
        _Pool.waiting -= 1


async def hash_password(password: str) -> str:
    """About 20 ms of one core. Raises Busy when too many wait."""
    text = normalise(password)
    return await _in_thread(lambda: _hasher.hash(text))


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password fits. Without a hash the same work is done, so that the time does not tell who is known."""
    text = normalise(password)
    if _Pool.nobodys is None:
        _Pool.nobodys = await _in_thread(lambda: _hasher.hash(secrets.token_urlsafe(32)))
    against = password_hash or _Pool.nobodys

    def verify() -> bool:
        try:
            return _hasher.verify(against, text)
        except (VerificationError, InvalidHashError):
            return False

    return await _in_thread(verify) and password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)
