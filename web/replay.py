"""Idempotency-Key, for every POST that creates: the second request gets the first one's answer."""

from collections.abc import Awaitable, Callable
from typing import Any

from quart import g, request
from sqlalchemy.ext.asyncio import AsyncSession

from core import replays
from core.database import transaction
from core.errors import InvalidInput

Create = Callable[[AsyncSession], Awaitable[dict[str, Any]]]

LONGEST_KEY = 200


def attempt_key() -> str | None:
    """The client's Idempotency-Key, if it sent one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidInput(field="Idempotency-Key", rule=f"1 to {LONGEST_KEY} printable ASCII characters")
    return key


async def once(create: Create) -> dict[str, Any]:
    """Create in a transaction of its own and answer; with a key, once: whoever repeats it gets that answer again."""
    key = attempt_key()
    if key is None:
        async with transaction() as session:
            return await create(session)
    body = await request.get_data(as_text=False)
    assert isinstance(body, bytes)
    facts: dict[str, Any] = {
        "account_id": g.account.id,
        "key": key,
        "request_hash": replays.hash_of(request.path, body),
    }
    try:
        async with transaction() as session:
            answer = await replays.find(session, **facts)
            if answer is None:
                answer = await create(session)
                await replays.keep(session, **facts, answer=answer)
            return answer
    except replays.AnsweredMeanwhile:
        async with transaction() as session:
            found = await replays.find(session, **facts)
        assert found is not None
        return found
