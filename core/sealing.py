"""Fields that only we can read: AES-256-GCM under a key of ours, in columns that a job brings under the next key.

Beside the model, once, and then for each row:

    TOTP_SECRET = SealedColumn(Totp.secret, key=Totp.account_id)
    totp.secret = TOTP_SECRET.seal(account_id, secret)
    secret = TOTP_SECRET.unseal(account_id, totp.secret)

The context (table, column, the row's key) and the id of the key are authenticated, so that a value which somebody
copied into another row or column does not open. For what is no column there are `seal` and `unseal` with a context of
yours, but nothing brings that under a new key: it must not outlive an old key (docs/secrets.md).
"""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from core import secrets
from core.settings import Secret

# What is kept: 1 byte for this form, the key's id, a random nonce, the text with its tag. Random nonces of 96 bits are
# good for 2**32 values under one key (NIST SP 800-38D, 8.3); we have a few for each account.
FORM = b"\x01"
KEY_ID, NONCE, TAG = 8, 12, 16  # bytes
HEAD = len(FORM) + KEY_ID
STREAM_FORM = b"\x02"
RECORD = 256 * 1024  # bytes of a stream that are sealed together, and held in memory


class NotOurs(Exception):
    """This was not sealed by us for this place, or under a key that we no longer have."""


@lru_cache(maxsize=16)
def _made(key: str) -> tuple[bytes, AESGCM]:
    """The head of what a key seals, and its cipher. The id is a hash: it names the key and tells nothing of it."""
    raw = bytes.fromhex(key)
    return FORM + hashlib.sha256(b"clofy field key:" + raw).digest()[:KEY_ID], AESGCM(raw)


def seal(context: str, plaintext: bytes) -> bytes:
    """Encrypt under the key of the day; two seals of the same text differ.

    context: which place it is for; the same must be given to `unseal`
    """
    head, cipher = _made(secrets.current(Secret.FIELD_KEY))
    nonce = os.urandom(NONCE)
    return head + nonce + cipher.encrypt(nonce, plaintext, head + context.encode())


def unseal(context: str, sealed: bytes) -> bytes:
    """Decrypt, under whichever of our keys it was sealed. Raises NotOurs."""
    head, nonce, text = sealed[:HEAD], sealed[HEAD : HEAD + NONCE], sealed[HEAD + NONCE :]
    ciphers = dict(map(_made, secrets.valid(Secret.FIELD_KEY)))
    if head not in ciphers or len(text) < TAG:
        raise NotOurs
    try:
        return ciphers[head].decrypt(nonce, text, head + context.encode())
    except InvalidTag:
        raise NotOurs from None


async def seal_stream(context: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Encrypt what is too long for the memory, under a key of its own, which is sealed under the snapshot key.

    Records of one length, numbered in their nonces; the last one says that it is the last, so that what is cut off,
    reordered or put together of two streams does not open.
    """
    key, nonce = AESGCM.generate_key(256), os.urandom(NONCE)
    head, wrapping = _wrapping(secrets.current(Secret.SNAPSHOT_KEY))
    yield head + nonce + wrapping.encrypt(nonce, key, head + context.encode())
    cipher, held, number = AESGCM(key), bytearray(), 0
    async for chunk in chunks:
        held += chunk
        while len(held) > RECORD:  # what is left at the end, if only one byte, is the last
            yield cipher.encrypt(_record_nonce(number, last=False), bytes(held[:RECORD]), None)
            del held[:RECORD]
            number += 1
    yield cipher.encrypt(_record_nonce(number, last=True), bytes(held), None)


async def unseal_stream(context: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Decrypt what `seal_stream` made, a record at a time. Raises NotOurs; what came before it is to be thrown away."""
    held, cipher, number = bytearray(), None, 0
    size = HEAD + NONCE + 32 + TAG
    async for chunk in chunks:
        held += chunk
        if cipher is None:
            if len(held) < size:
                continue
            cipher = _unwrapped(context, bytes(held[:size]))
            del held[:size]
        while len(held) > RECORD + TAG:
            yield _opened(cipher, number, bytes(held[: RECORD + TAG]), last=False)
            del held[: RECORD + TAG]
            number += 1
    if cipher is None:
        raise NotOurs
    yield _opened(cipher, number, bytes(held), last=True)


def _wrapping(key: str) -> tuple[bytes, AESGCM]:
    raw = bytes.fromhex(key)
    return STREAM_FORM + hashlib.sha256(b"clofy snapshot key:" + raw).digest()[:KEY_ID], AESGCM(raw)


def _unwrapped(context: str, sealed: bytes) -> AESGCM:
    head, nonce, wrapped = sealed[:HEAD], sealed[HEAD : HEAD + NONCE], sealed[HEAD + NONCE :]
    ciphers = dict(map(_wrapping, secrets.valid(Secret.SNAPSHOT_KEY)))
    if head not in ciphers:
        raise NotOurs
    try:
        return AESGCM(ciphers[head].decrypt(nonce, wrapped, head + context.encode()))
    except InvalidTag:
        raise NotOurs from None


def _opened(cipher: AESGCM, number: int, record: bytes, *, last: bool) -> bytes:
    try:
        return cipher.decrypt(_record_nonce(number, last=last), record, None)
    except (InvalidTag, ValueError):  # ValueError: shorter than a tag
        raise NotOurs from None


def _record_nonce(number: int, *, last: bool) -> bytes:
    """Never the same twice under one key, for each stream has its own."""
    return number.to_bytes(NONCE - 1, "big") + (b"\x01" if last else b"\x00")


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed values. Making one enters it in the list that `reseal` goes through.

    key: a column that tells the rows apart and never changes; the primary key, as a rule
    """

    column: InstrumentedAttribute[Any]
    key: InstrumentedAttribute[Any] = field(kw_only=True)

    def __post_init__(self) -> None:
        SEALED_COLUMNS[self.name] = self

    @property
    def name(self) -> str:
        return f"{self.column.class_.__tablename__}.{self.column.key}"

    def seal(self, key: object, plaintext: bytes) -> bytes:
        return seal(f"{self.name}:{key}", plaintext)

    def unseal(self, key: object, sealed: bytes) -> bytes:
        """Raises NotOurs."""
        return unseal(f"{self.name}:{key}", sealed)


SEALED_COLUMNS: dict[str, SealedColumn] = {}


@dataclass(frozen=True)
class Resealed:
    """What a batch came to. What is not ours was left as it is, and the next batch must look beyond it."""

    sealed: int
    not_ours: list[object]
    last: object | None  # the key of the last row that was looked at; None: there was none


async def reseal(
    session: AsyncSession, place: SealedColumn, *, after: object | None = None, limit: int = 100
) -> Resealed:
    """Bring the next rows that are under an older key under the key of the day, in the order of their keys.

    Rows that somebody else holds are skipped: the next run finds them. Running it twice, or two at once, does no harm.
    """
    head, _ = _made(secrets.current(Secret.FIELD_KEY))
    older = and_(place.column.is_not(None), func.substring(place.column, 1, HEAD) != head)
    query = select(place.key, place.column).where(older if after is None else and_(older, place.key > after))
    rows = (await session.execute(query.order_by(place.key).limit(limit).with_for_update(skip_locked=True))).all()
    not_ours: list[object] = []
    for key, sealed in rows:
        try:
            plaintext = place.unseal(key, sealed)
        except NotOurs:
            not_ours.append(key)
            continue
        changed = {place.column: place.seal(key, plaintext)}
        await session.execute(
            update(place.column.class_).where(place.key == key).values(changed),
            execution_options={"synchronize_session": False},
        )
    return Resealed(sealed=len(rows) - len(not_ours), not_ours=not_ours, last=rows[-1][0] if rows else None)


async def under_older_keys(session: AsyncSession) -> dict[str, int]:
    """How many values of each column are not under the key of the day; all 0: the old key is no longer needed."""
    head, _ = _made(secrets.current(Secret.FIELD_KEY))
    return {
        name: await session.scalar(
            select(func.count()).where(place.column.is_not(None), func.substring(place.column, 1, HEAD) != head)
        )
        or 0
        for name, place in SEALED_COLUMNS.items()
    }
