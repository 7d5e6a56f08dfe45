"""Our message is Celery's own: what `send_task` writes to Redis, field for field."""

import base64
import json
from typing import Any
from uuid import uuid4

from redis import Redis

from core.queue import POLICIES, TaskName, celery, message
from tests.house import House

OF_THE_SENDER = {"origin", "delivery_tag", "reply_to", "argsrepr", "kwargsrepr"}  # who sent it, and what Flower shows


def celerys_own(house: House, name: TaskName, job_id: str) -> dict[str, Any]:
    queue = POLICIES[name].queue
    with Redis.from_url(house.valkey.url) as redis:
        redis.delete(queue)
        celery().send_task(name, args=(job_id,), task_id=job_id, ignore_result=True, retry=False)
        written = redis.rpop(queue)
    assert isinstance(written, bytes)
    return dict(json.loads(written))


def test_our_message_is_what_celery_writes(house: House) -> None:
    job_id = str(uuid4())
    theirs, ours = celerys_own(house, TaskName.ANSWER, job_id), json.loads(message(TaskName.ANSWER, job_id))

    assert json.loads(base64.b64decode(ours["body"])) == json.loads(base64.b64decode(theirs["body"]))
    for part in ("headers", "properties"):
        needed = {field: value for field, value in theirs[part].items() if value not in (None, {}, [])}
        assert {field: ours[part].get(field) for field in needed if field not in OF_THE_SENDER} == {
            field: value for field, value in needed.items() if field not in OF_THE_SENDER
        }
    assert (ours["content-type"], ours["content-encoding"]) == (theirs["content-type"], theirs["content-encoding"])


def test_nothing_but_the_id_is_in_it(house: House) -> None:
    """Flower and logs show the representations of arguments; ours are empty."""
    headers = json.loads(message(TaskName.ANSWER, "an-id"))["headers"]

    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("", "")
