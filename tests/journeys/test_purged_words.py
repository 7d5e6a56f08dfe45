"""Words that came in by the front door are nowhere thirty-one days later: no row, blob, stream, job, mail or log."""

import io
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient

from core.privacy.places import KEYS
from tests.house import MODULE, ROOT, Stack
from tests.journeys.person import Person, text_of

LATER = """
import asyncio, sys
from datetime import datetime
from core.direct import close_connections
from core.media import blobs
from core.privacy import purge
async def run():
    gone = await purge.run(now=datetime.fromisoformat(sys.argv[1]))
    await blobs.close()
    await close_connections()
    return gone
print(sum(one.days for one in asyncio.run(run())))
"""
RELATIONS = """
    select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind in ('r', 'm') and nspname !~ '^pg_' and nspname <> 'information_schema'
"""


def in_rows(stack: Stack, word: str) -> set[str]:
    """The tables in which a word is, whatever the column."""
    query = "select count(*) from {name} as kept where kept::text ilike '%' || :word || '%'"
    names = [row["name"] for row in stack.sql(RELATIONS)]
    found = {name for name in names if stack.sql(query.format(name=name), word=word)[0]["count"]}
    return {"public.message_texts" if "message_texts_" in name else name for name in found}


def in_redis(stack: Stack, word: str) -> dict[str, float]:
    """The keys in which a word is, each with the seconds after which it goes; -1: never."""
    with stack.redis() as redis:
        return {
            key.decode(): redis.ttl(key)
            for key in redis.scan_iter()
            if word.encode() in repr(value_of(redis, key)).encode()
        }


def value_of(redis: object, key: bytes) -> object:
    read = {b"stream": "xrange", b"string": "get", b"set": "smembers", b"hash": "hgetall"}
    kind = redis.type(key)  # type: ignore[attr-defined]
    if kind in (b"list", b"zset"):
        return getattr(redis, "lrange" if kind == b"list" else "zrange")(key, 0, -1)
    return getattr(redis, read[kind])(key)


def in_blobs(stack: Stack, word: str) -> set[str]:
    """The blobs in which a word is, also inside of a zip."""
    found = set()
    with BlobServiceClient.from_connection_string(stack.azurite.connection_string) as service:
        for room in service.list_containers():
            container = service.get_container_client(room.name)
            for one in container.list_blobs(include=["snapshots", "uncommittedblobs"]):
                content = container.download_blob(one.name).readall() if one.size else b""
                if word.encode() in unpacked(content):
                    found.add(str(room.name))
    return found


def unpacked(content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        return b"\0".join(files.read(name) for name in files.namelist())


def in_logs(stack: Stack, word: str) -> set[str]:
    """PostgreSQL's and Redis' too; what the stand-in of the model heard is not ours."""
    logs = [
        path for path in stack.directory.rglob("*.log") if "standins" not in path.relative_to(stack.directory).parts
    ]
    assert {"web0.log", "ai.log", "default.log"} <= {path.name for path in logs}
    return {path.name for path in logs if word in path.read_text(errors="replace")}


@pytest.mark.usefixtures("storage")
async def test_words_are_nowhere_thirty_one_days_after_they_were_said(stack: Stack, person: Person) -> None:
    word = "zephyrine" + uuid4().hex.translate(str.maketrans("0123456789", "ghijklmnop"))
    answer = text_of(
        await person.follow(await person.asked(await person.begin(), f"Is {word} a good name for a boat?"))
    )
    assert word in answer.lower()
    copy = await person.call(
        "POST", "/api/privacy/requests", json={"kind": "access"}, headers={"Idempotency-Key": str(uuid4())}
    )
    assert copy.status_code == 201, copy.text
    [export] = (await person.get("/api/exports"))["exports"]
    await person.until_ended(export["job"])

    # They are where they have to be; so the looking works.
    assert in_rows(stack, word) == {"public.message_texts"}
    assert in_blobs(stack, word) == {"exports"}
    streams = in_redis(stack, word)
    with stack.redis() as redis:
        unlisted = [key for key in redis.scan_iter() if not key.decode().startswith(tuple(one.prefix for one in KEYS))]
    assert unlisted == []
    assert [key.partition(":")[0] for key in streams] == ["run"]

    later = datetime.now(UTC) + timedelta(days=31)
    purged = subprocess.run(
        [*MODULE[:1], "-c", LATER, later.isoformat()],
        cwd=ROOT,
        env=stack.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    stack.sql("select prepare_message_partitions(current_date - 1, current_date + 35)")

    assert int(purged.stdout.splitlines()[-1]) >= 3  # yesterday, today and tomorrow, as they are made ahead
    assert in_rows(stack, word) == set()
    assert in_blobs(stack, word) == set()
    assert 0 < max(streams.values()) < timedelta(days=1).total_seconds()  # gone by then, by themselves
    assert in_logs(stack, word) == set()
    mails = (await person.http.get(f"{stack.standins.url}/mail", params={"to": person.email})).text
    assert person.email in mails
    assert word not in mails
    shown = await person.call("GET", "/api/consultations")
    assert word not in shown.text
