"""Idempotency-Key, for every POST that creates: the second request gets the first one's answer."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from quart import g, request

from core import replays
from core.direct import Unit, direct, direct_transaction
from core.errors import InvalidInput

U = TypeVar("U", bound=Unit)

LONGEST_KEY = 200


def attempt_key() -> str | None:
    """The client's Idempotency-Key, if it sent one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise InvalidInput(field="Idempotency-Key", rule=f"1 to {LONGEST_KEY} printable ASCII characters")
    return key


async def once(
    create: Callable[[U], Awaitable[dict[str, Any]]],
    begin: Callable[[], AbstractAsyncContextManager[U]] = direct_transaction,  # type: ignore[assignment]  # U is Direct
    *,
    alone: Callable[[], AbstractAsyncContextManager[U]] | None = None,
) -> dict[str, Any]:
    """Create in a transaction of its own and answer; with a key, once: whoever repeats it gets that answer again.

    begin: opens the transaction; what it locks, it locks before the answer is looked for
    alone: opens it where there is no key: `direct`, for who writes with a single statement
    """
    key = attempt_key()
    if key is None:
        async with (alone or begin)() as unit:
            return await create(unit)
    body = await request.get_data(as_text=False)
    assert isinstance(body, bytes)
    facts: dict[str, Any] = {
        "account_id": g.account.id,
        "key": key,
        "request_hash": replays.hash_of(request.path, body),
    }
    try:
        async with begin() as unit:
            answer = await replays.find(unit, **facts)
            if answer is None:
                answer = await create(unit)
                await replays.keep(unit, **facts, answer=answer)
            return answer
    except replays.AnsweredMeanwhile:
        async with direct() as unit:
            found = await replays.find(unit, **facts)
        assert found is not None
        return found
