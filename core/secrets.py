"""What nobody else may know: keys of ours, by which we sign and seal, and keys that vendors gave us.

With `CLOFY_VAULT_URL` they come from an Azure Key Vault, by name and without a version; else from the settings. They
are kept in the memory of the process and read again each hour, beside all requests: while the vault is down everything
goes on as it was. docs/secrets.md says how each is changed, and why it is built like this.
"""

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from core.errors import Unavailable
from core.settings import Environment, Secret, fault_of, settings
from core.telemetry import log

if TYPE_CHECKING:
    from core.vault import Vault

REFRESHED_EVERY = timedelta(hours=1)
TRIED_EVERY = timedelta(minutes=1)  # while the vault is away, and for those who ask after an authentication failure
# A new key of ours is accepted as soon as it is seen, and used once every process has surely seen it: two that use
# different keys must each know the other's.
SETTLES_IN = 2 * REFRESHED_EVERY
OURS = frozenset({Secret.SECRET_KEY, Secret.FIELD_KEY, Secret.SNAPSHOT_KEY})
# How long an older version is accepted after a newer one came, unless it is disabled or ends before.
NO_OVERLAP = timedelta(0)  # a vendor's key: we ask with the newest, and nobody asks us
OVERLAP = {
    Secret.SECRET_KEY: timedelta(days=7),  # longer than any page stays open or any code lives
    Secret.FIELD_KEY: timedelta(days=36500),  # until it is disabled: the job that reseals has to be through
    Secret.SNAPSHOT_KEY: timedelta(days=40),  # longer than any copy that it sealed is kept
    Secret.STRIPE_WEBHOOK_SECRET: timedelta(hours=24),  # Stripe's longest (docs.stripe.com/webhooks, "Roll")
}
NEVER = datetime.min.replace(tzinfo=UTC)
START_TRIES, LATER_TRIES = 6, 2  # of one request to a vault that does not answer, with waits between that double


class UnfitSecrets(Exception):
    """Secrets are missing, empty, malformed or defaults; the text names each and shows none."""


@dataclass(frozen=True)
class Version:
    id: str
    value: str = field(repr=False)
    since: datetime
    until: datetime | None


@dataclass
class _Held:
    """What this process knows; it is written down nowhere."""

    versions: dict[Secret, tuple[Version, ...]] = field(default_factory=dict)  # the newest first
    read_at: datetime = NEVER
    tried_at: datetime = NEVER
    asked_at: datetime = NEVER  # the last time that a vendor's refusal made us ask
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


_held = _Held()


def now() -> datetime:
    return datetime.now(UTC)


def current(secret: Secret) -> str:
    """The one to sign, seal or ask with."""
    return valid(secret)[0]


def valid(secret: Secret) -> tuple[str, ...]:
    """All that are accepted, the one to use first: two while one takes the place of another."""
    if secret not in settings().needed:
        raise RuntimeError(f"{secret} is none of {settings().part}'s: core/settings.py says who needs it")
    if not settings().vault_url:
        return settings().given(secret)
    if not _held.versions:
        raise RuntimeError("the secrets are asked for before `secrets.load()` has read them")
    accepted = _accepted(secret, _held.versions[secret])
    if secret in OURS:
        settled = [one for one in accepted if now() >= one.since + SETTLES_IN]
        first = settled[0] if settled else accepted[-1]
        accepted.sort(key=lambda one: one is not first)
    return tuple(one.value for one in accepted)


def _accepted(secret: Secret, versions: Sequence[Version]) -> list[Version]:
    """The newest, even one at its end, for we have no better; and the older ones as long as they overlap."""
    at, overlap = now(), OVERLAP.get(secret, NO_OVERLAP)
    return [*versions[:1]] + [
        one for newer, one in pairwise(versions) if at < newer.since + overlap and (one.until is None or at < one.until)
    ]


def sign(message: bytes) -> bytes:
    """A keyed hash of a message, for what lives no longer than an old key is accepted. Begin it with its purpose."""
    return _keyed(current(Secret.SECRET_KEY), message)


def signatures(message: bytes) -> tuple[bytes, ...]:
    """What `sign` makes of it, and what it made under the keys that are still accepted; the one to give out first."""
    return tuple(_keyed(key, message) for key in valid(Secret.SECRET_KEY))


def is_signed(message: bytes, signature: bytes) -> bool:
    """Whether `sign` made this, under a key that is still accepted."""
    return any(hmac.compare_digest(one, signature) for one in signatures(message))


def _keyed(key: str, message: bytes) -> bytes:
    return hmac.digest(key.encode(), message, "sha256")


async def load() -> None:
    """Read all secrets, at the start of a process. Raises UnfitSecrets, which names them, or VaultAway."""
    if not settings().vault_url:
        return  # settings() has looked at them
    faults = await _read(tries=START_TRIES)
    if faults:
        raise UnfitSecrets("; ".join(f"{secret} in the vault {fault}" for secret, fault in sorted(faults.items())))


async def keep_fresh() -> None:
    """Read the secrets again when it is time, for ever; a task of each process that serves."""
    while settings().vault_url:
        await asyncio.sleep(TRIED_EVERY.total_seconds())
        try:
            await refresh_if_due()
        except Exception:  # whatever it is, the next turn may go well, and what we have is good
            log(__name__).exception("secrets_not_read")


async def refresh_if_due() -> None:
    """Read the secrets again if it is time. While the vault is away, or a new version is unfit, what we have stays."""
    if not settings().vault_url or now() < max(_held.read_at + REFRESHED_EVERY, _held.tried_at + TRIED_EVERY):
        return
    await _refresh()


async def refreshed(secret: Secret, *, refused: str) -> bool:
    """Ask the vault once, at once, for a vendor has refused this one. Returns whether there is another to try now.

    Many who are refused at the same time ask once; and while nothing changes, once a minute.
    """
    if not settings().vault_url:
        return False
    async with _held.reading:
        if current(secret) == refused and now() >= _held.asked_at + TRIED_EVERY:
            _held.asked_at = now()
            await _refresh()
    return current(secret) != refused


async def _refresh() -> None:
    try:
        faults = await _read(tries=LATER_TRIES)
    except Unavailable as error:
        log(__name__).warning("vault_away", read_at=_held.read_at.isoformat(), cause=error.facts["cause"])
        return
    for secret, fault in faults.items():
        log(__name__).error("secret_unfit", secret=secret, fault=fault)


async def _read(*, tries: int) -> dict[Secret, str]:
    """Take up what the vault has; returns what is wrong with the newest of each secret that was not taken up."""
    from core.vault import open_vault  # noqa: PLC0415  # its SDK takes 0.8 s and 25 MB, which only a vault is worth

    _held.tried_at = now()
    faults: dict[Secret, str] = {}
    async with open_vault(tries=tries) as vault:
        for secret in settings().needed:
            versions = await _versions(vault, secret)
            if fault := _fault(secret, versions):
                faults[secret] = fault
            else:
                _take(secret, versions)
    _held.read_at = now()
    return faults


def _fault(secret: Secret, versions: tuple[Version, ...]) -> str | None:
    production = settings().environment is Environment.PRODUCTION
    return fault_of(secret, versions[0].value, production=production) if versions else "is missing"


def _take(secret: Secret, versions: tuple[Version, ...]) -> None:
    held = _held.versions.get(secret)
    if held is not None and held[0].id != versions[0].id:
        log(__name__).info("secret_rotated", secret=secret, version=versions[0].id)
    production = settings().environment is Environment.PRODUCTION
    _held.versions[secret] = tuple(one for one in versions if not fault_of(secret, one.value, production=production))


async def _versions(vault: "Vault", secret: Secret) -> tuple[Version, ...]:
    """Those that are accepted, the newest first. A value is asked for once: a version never changes it."""
    known = {one.id: one.value for one in _held.versions.get(secret, ())}
    entries = await vault.entries(secret, now=now())
    listed = [Version(one.id, known.get(one.id, ""), one.since, one.until) for one in entries]
    return tuple(
        [
            one if one.value else replace(one, value=await vault.value(secret, one.id))
            for one in _accepted(secret, listed)
        ]
    )
