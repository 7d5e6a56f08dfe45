"""What each run of the purge did, by class of data, in a form that nobody can change afterwards without it being seen.

Each receipt is chained to the one before by its hash, and signed. The latest signature vouches for all before it, so a
key that is no longer accepted voids nothing: the next run, within an hour, signs the whole chain under the new one.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core import secrets
from core.privacy.purge_models import PurgeReceipt
from core.privacy.registry import DataClass
from core.settings import Secret
from core.telemetry import log

PURPOSE = b"purge receipt\0"

logger = log(__name__)


@dataclass(frozen=True)
class Verdict:
    """count: receipts that were looked at; faults: what is wrong with which, nothing if all is well."""

    count: int
    faults: list[str]


def key_id(key: str) -> str:
    """Names a key and tells nothing of it."""
    return hashlib.sha256(b"clofy receipt key:" + key.encode()).hexdigest()[:16]


def hash_of(one: PurgeReceipt) -> bytes:
    told = {
        "run": str(one.run_id),
        "class": one.data_class,
        "gone": one.gone,
        "begun": one.begun_at.astimezone(UTC),
        "ended": one.ended_at.astimezone(UTC),
        "previous": one.previous.hex(),
    }
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()


async def write(
    session: AsyncSession, *, run_id: UUID, of: DataClass, gone: list[dict[str, Any]], begun_at: datetime
) -> PurgeReceipt:
    """Add a receipt to the chain. Only ever one writer at a time: the run has the purge's lock.

    gone: what went, of each place
    """
    last = await session.scalar(select(PurgeReceipt).order_by(PurgeReceipt.id.desc()).limit(1))
    if last is not None and not _is_ours(last):
        logger.error("purge_receipt_not_ours", receipt=last.id)
    receipt = PurgeReceipt(
        run_id=run_id,
        data_class=of,
        gone=orjson.loads(orjson.dumps(gone)),  # as it will be read
        begun_at=begun_at,
        ended_at=datetime.now(UTC),
        previous=last.hash if last is not None else b"",
        key_id=key_id(secrets.current(Secret.SECRET_KEY)),
    )
    receipt.hash = hash_of(receipt)
    receipt.signature = secrets.sign(PURPOSE + receipt.hash)
    session.add(receipt)
    await session.flush()
    return receipt


def _is_ours(one: PurgeReceipt) -> bool:
    return hmac.compare_digest(hash_of(one), one.hash) and secrets.is_signed(PURPOSE + one.hash, one.signature)


async def last_at(session: AsyncSession) -> datetime | None:
    """When the purge came to its end the last time."""
    return await session.scalar(select(func.max(PurgeReceipt.ended_at)))


async def verify(session: AsyncSession) -> Verdict:
    """Look at all that are kept, the oldest first; the purge takes those of more than two years ago from the front."""
    known = {key_id(key) for key in secrets.valid(Secret.SECRET_KEY)}
    previous: PurgeReceipt | None = None
    count, faults = 0, list[str]()
    rows = await session.stream_scalars(select(PurgeReceipt).order_by(PurgeReceipt.id).execution_options(yield_per=500))
    async for one in rows:
        count += 1
        if not hmac.compare_digest(hash_of(one), one.hash):
            faults.append(f"{one.id}: was changed")
        elif one.key_id in known and not secrets.is_signed(PURPOSE + one.hash, one.signature):
            faults.append(f"{one.id}: is not signed by us")
        if previous is not None and one.previous != previous.hash:
            faults.append(f"{one.id}: does not follow {previous.id}")
        previous = one
    if previous is not None and previous.key_id not in known:
        faults.append(f"{previous.id}: is the latest, and signed under a key that is no longer accepted")
    return Verdict(count, faults)
