"""The part of the purge that is outside the database: blobs that are past their term, keys of Redis without an end."""

from datetime import datetime

from core import streams
from core.media import blobs
from core.media.blobs import PICTURES, NoStorage, Room
from core.privacy.registry import Container, Keys


async def end_keys(keys: Keys) -> int:
    """Give an end to keys that have none, for their writer was cut off before it said so; how many."""
    assert keys.lives
    redis, ended = streams.connect(), 0
    try:
        async for key in redis.scan_iter(match=f"{keys.prefix}*", count=1_000):
            ended += bool(await redis.expire(key, keys.lives, nx=True))
    finally:
        await redis.aclose()
    return ended


async def empty(container: Container, *, before: datetime) -> int:
    """Delete blobs that were written before; how many. Those of pictures have a sweep of their own (core/media)."""
    if container.name in PICTURES:
        return 0
    gone = 0
    try:
        async for page in blobs.pages(Room(container.name)):
            for one in page:
                if one.modified_at <= before:
                    gone += await blobs.erase(Room(container.name), one.name)
    except NoStorage:
        pass  # then there is nothing in it
    return gone
