"""Uploads over a real port, as browsers send them; and the published files."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from core.accounts.models import Role
from core.database import transaction
from core.errors import InvalidInput
from core.media import blobs, uploads
from core.media.blobs import Room
from core.media.models import Media
from core.queue import TaskName
from sandbox.azurite import Azurite
from sandbox.postgres import scratch_directory
from tests.core.billing.kit import sign_in
from tests.core.media import files
from tests.house import House
from tests.makers import make_account
from tests.web.served import Served
from tests.workers.here import Here
from web.media import exactly

MIB = 1024**2


@pytest.fixture(scope="module")
def web(house: House, storage: Azurite) -> Iterator[Served]:
    with scratch_directory() as directory:
        served = Served(house, directory)
        try:
            served.start()
            yield served
        finally:
            served.stop()


async def client_of(web: Served, role: Role = Role.ADMIN) -> httpx.AsyncClient:
    async with transaction() as session:
        account_id = await make_account(session, role=role)
    facts = await sign_in(account_id)
    headers = {name: facts[name] for name in ("X-CSRF-Token", "Cookie")}
    return httpx.AsyncClient(base_url=web.url, headers=headers, timeout=60)


@pytest.fixture
async def admin(web: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with await client_of(web) as client:
        yield client
    assert web.errors() == []


async def begun(client: httpx.AsyncClient, size: int, **more: Any) -> str:
    answer = await client.post("/api/media", json={"name": "a.png", "bytes": size} | more)
    assert answer.status_code == 201, answer.text
    assert answer.json()["block_bytes"] == uploads.BLOCK
    media_id: str = answer.json()["id"]
    return media_id


async def put(client: httpx.AsyncClient, media_id: str, number: int, content: Any) -> httpx.Response:
    return await client.put(f"/api/media/{media_id}/blocks/{number}", content=content)


async def arrived(client: httpx.AsyncClient, media_id: str) -> list[int]:
    found: list[int] = (await client.get(f"/api/media/{media_id}")).json()["arrived"]
    return found


async def test_a_picture_is_sent_in_blocks_made_and_shown_to_everybody(
    web: Served, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers import media as worker

    content = files.saved(files.drawn(size=(600, 300)), "PNG") + os.urandom(2 * uploads.BLOCK)
    name = f"../../{uuid4()}\r\n\u202egnp.exe\\süß.png"
    media_id = await begun(admin, len(content), name=name)
    blocks = [content[at : at + uploads.BLOCK] for at in range(0, len(content), uploads.BLOCK)]

    answers = await asyncio.gather(*[put(admin, media_id, n, block) for n, block in reversed([*enumerate(blocks)])])
    done = [await admin.post(f"/api/media/{media_id}/complete") for _ in range(2)]

    assert {one.status_code for one in answers} == {204}
    assert [one.status_code for one in done] == [202, 202]
    assert done[0].json() == done[1].json()
    async with Here.open() as here:
        monkeypatch.setattr(worker, "process", lambda: here)
        await here.attempt(TaskName.PROCESS_MEDIA, UUID(done[0].json()["job"]))
    await blobs.close()
    found = (await admin.get(f"/api/media/{media_id}")).json()
    assert (found["state"], found["name"], found["width"], found["height"]) == ("ready", "süß.png", 600, 300)
    assert [one["type"] for one in found["sources"]] == ["image/avif", "image/webp"]
    assert found in [one | {"arrived": found["arrived"]} for one in (await admin.get("/api/media")).json()["media"]]
    async with httpx.AsyncClient(base_url=web.url) as anybody:
        for path in re.findall(r"(/media/\S+) \d+w", found["sources"][0]["srcset"] + found["sources"][1]["srcset"]):
            shown = await anybody.get(path)
            again = await anybody.get(path, headers={"If-None-Match": shown.headers["ETag"]})
            assert shown.status_code == 200
            assert shown.headers["Content-Type"] == f"image/{path.rpartition('.')[2]}"
            assert shown.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert shown.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
            assert shown.headers["X-Content-Type-Options"] == "nosniff"
            assert "Set-Cookie" not in shown.headers
            assert int(shown.headers["Content-Length"]) == len(shown.content) > 100
            assert (again.status_code, again.content) == (304, b"")


async def test_what_was_cut_off_is_resumed_by_block(web: Served, admin: httpx.AsyncClient) -> None:
    media_id = await begun(admin, 2 * uploads.BLOCK)

    async def cut() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        raise ConnectionResetError

    assert (await put(admin, media_id, 0, b"a" * uploads.BLOCK)).status_code == 204
    headers = {"Content-Length": str(uploads.BLOCK)}
    with pytest.raises(ConnectionResetError):
        await admin.put(f"/api/media/{media_id}/blocks/1", content=cut(), headers=headers)

    refused = await admin.post(f"/api/media/{media_id}/complete")
    assert (refused.status_code, refused.json()["missing"]) == (409, [1])
    assert await arrived(admin, media_id) == [0]
    assert (await put(admin, media_id, 1, b"b" * uploads.BLOCK)).status_code == 204
    assert (await admin.post(f"/api/media/{media_id}/complete")).status_code == 202
    assert (await put(admin, media_id, 1, b"c" * uploads.BLOCK)).status_code == 409


async def chunked(size: int) -> AsyncIterator[bytes]:
    """A body whose length is not said before."""
    for _ in range(0, size, 1000):
        yield b"x" * 1000


async def test_what_follows_a_whole_block_is_seen_by_who_asks_for_no_more_than_it() -> None:
    taken = exactly(1000, chunked(2000))

    with pytest.raises(InvalidInput):
        await anext(taken)


@pytest.mark.parametrize("content", [b"x" * 999, b"x" * 1001, b"", "chunked:999", "chunked:5000"])
async def test_a_block_has_exactly_its_bytes(web: Served, admin: httpx.AsyncClient, content: bytes | str) -> None:
    media_id = await begun(admin, 1000 if content != "chunked:999" else 1500)
    body = content if isinstance(content, bytes) else chunked(int(content.partition(":")[2]))

    answer = await put(admin, media_id, 0, body)

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid-input"
    assert await arrived(admin, media_id) == []


async def test_a_block_that_the_upload_does_not_have_is_not_there(web: Served, admin: httpx.AsyncClient) -> None:
    media_id = await begun(admin, 1000)

    for number in (1, 10**30):
        assert (await put(admin, media_id, number, b"x")).status_code == 404


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "a.svg"},
        {"name": "a.html"},
        {"name": "png"},
        {"name": "a.png\u202e.pdf"},
        {"name": "\r\n"},
        {"name": f"{'a' * 300}.png"},
        {"bytes": 0},
        {"bytes": 64 * MIB + 1},
        {"sha256": "00"},
    ],
)
async def test_what_can_be_refused_at_once_is(web: Served, admin: httpx.AsyncClient, facts: dict[str, Any]) -> None:
    answer = await admin.post("/api/media", json={"name": "a.png", "bytes": 10} | facts)

    assert answer.status_code == 400


async def test_the_same_announcement_with_a_key_is_one_upload(web: Served, admin: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    ids = [
        (await admin.post("/api/media", json={"name": "a.png", "bytes": 10}, headers=headers)).json()["id"]
        for _ in range(2)
    ]

    assert ids[0] == ids[1]


async def test_uploads_are_for_admins_and_each_for_its_own(web: Served, admin: httpx.AsyncClient) -> None:
    media_id = await begun(admin, 1000)
    async with await client_of(web, Role.USER) as user, await client_of(web) as other, httpx.AsyncClient() as nobody:
        nobody.base_url = httpx.URL(web.url)

        assert (await user.post("/api/media", json={"name": "a.png", "bytes": 10})).status_code == 404
        assert (await put(user, media_id, 0, b"x" * 1000)).status_code == 404
        assert (await put(other, media_id, 0, b"x" * 1000)).status_code == 404
        assert (await other.post(f"/api/media/{media_id}/complete")).status_code == 404
        assert (await put(nobody, media_id, 0, b"x" * 1000)).status_code == 401


async def test_what_an_account_has_is_bounded_also_by_those_who_ask_at_once(
    web: Served, admin: httpx.AsyncClient
) -> None:
    most = uploads.QUOTA_BYTES // uploads.MOST_BYTES

    told = await asyncio.gather(
        *[admin.post("/api/media", json={"name": "a.png", "bytes": uploads.MOST_BYTES}) for _ in range(most + 4)]
    )

    codes = [one.json().get("code", "taken") for one in told]
    assert (codes.count("taken"), codes.count("quota-reached")) == (most, 4)


async def test_an_upload_that_is_stopped_leaves_nothing(web: Served, admin: httpx.AsyncClient) -> None:
    media_id = await begun(admin, 10)
    await put(admin, media_id, 0, b"x" * 10)

    gone = [await admin.delete(f"/api/media/{media_id}") for _ in range(2)]

    assert [one.status_code for one in gone] == [204, 404]
    assert media_id not in {one.name async for page in blobs.pages(Room.QUARANTINE) for one in page}
    async with transaction() as session:
        assert await session.get(Media, UUID(media_id)) is None
    await blobs.close()


@pytest.mark.parametrize("name", ["0" * 64 + ".webp", "a.webp", "..%2fquarantine%2fx", "0" * 64 + ".html"])
async def test_what_is_not_published_is_not_there(web: Served, name: str) -> None:
    async with httpx.AsyncClient(base_url=web.url) as anybody:
        assert (await anybody.get(f"/media/{name}")).status_code == 404


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)


def peak(pid: int) -> int:
    """The most bytes of memory that a process had since the last `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


async def test_the_memory_of_a_web_process_does_not_grow_with_what_is_uploaded(
    web: Served, admin: httpx.AsyncClient
) -> None:
    """Bar 2: at most 2 MiB for each upload, whatever its size; at the peak, not at the end."""
    at_once, size = 8, int(os.environ.get("CLOFY_UPLOAD_MIB", "16")) * MIB
    piece = os.urandom(64 * 1024)

    async def block() -> AsyncIterator[bytes]:
        for _ in range(uploads.BLOCK // len(piece)):
            yield piece

    async def upload() -> None:
        media_id = await begun(admin, size)
        headers = {"Content-Length": str(uploads.BLOCK)}
        for number in range(size // uploads.BLOCK):
            sent = await admin.put(f"/api/media/{media_id}/blocks/{number}", content=block(), headers=headers)
            assert sent.status_code == 204, sent.text

    await upload()  # what is loaded once
    pid = web.process.pid
    forget_peak(pid)
    before = peak(pid)

    await asyncio.gather(*[upload() for _ in range(at_once)])

    grown = peak(pid) - before
    print(f"grown by {grown / at_once / MIB:.2f} MiB for each upload of {size // MIB} MiB")  # noqa: T201  # with -s
    assert grown <= at_once * 2 * MIB
