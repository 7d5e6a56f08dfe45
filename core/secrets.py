"""What nobody else may know: keys of ours, by which we sign and seal, and keys that vendors gave us."""

import hmac

from core.settings import Secret, settings


def current(secret: Secret) -> str:
    """The one to sign, seal or ask with."""
    return valid(secret)[0]


def valid(secret: Secret) -> tuple[str, ...]:
    """All that are still accepted, the newest first: two while one takes the place of another."""
    return settings().given(secret)


def sign(message: bytes) -> bytes:
    """A keyed hash of a message, for what lives no longer than an old key is accepted. Begin it with its purpose."""
    return hmac.digest(current(Secret.SECRET_KEY).encode(), message, "sha256")


def is_signed(message: bytes, signature: bytes) -> bool:
    """Whether `sign` made this, under the key of the day or the one before."""
    return any(
        hmac.compare_digest(hmac.digest(key.encode(), message, "sha256"), signature) for key in valid(Secret.SECRET_KEY)
    )
