"""Azure Blob Storage, spoken to by its own SDK: the only file that knows it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity.aio import ManagedIdentityCredential
from azure.storage.blob import BlobBlock, BlobSasPermissions, ContentSettings, ImmutabilityPolicy, generate_blob_sas
from azure.storage.blob.aio import BlobClient, BlobServiceClient, LinearRetry

from core.errors import ClofyError, Kind, Unavailable
from core.settings import settings

CHUNK = 256 * 1024  # bytes that are read at a time
BLOCK = 4 * 1024**2  # bytes that are written at a time; 50,000 of them make the largest blob
SKEW = timedelta(minutes=15)  # that the store's clock may be behind ours
FOR_EVER = "public, max-age=31536000, immutable"  # a name is the hash of what it names


class Room(StrEnum):
    QUARANTINE = "quarantine"  # what people sent, as they sent it; private
    PUBLIC = "public"  # what we made of it
    ARCHIVE = "archive"  # of each day, what was done; private, as all below
    SNAPSHOTS = "snapshots"  # of each day, the database, sealed
    EXPORTS = "exports"  # what a person asked for
    JOURNAL = "journal"  # who was erased, in numbers that only a copy of the database can tell


PICTURES = (Room.QUARANTINE, Room.PUBLIC)


class StorageAway(Unavailable):
    """The storage of pictures does not answer; please try again in a moment."""


class NoStorage(Unavailable):
    """This service has no storage for pictures."""


class NoSuchBlob(ClofyError):
    """There is no such picture."""

    kind = Kind.NOT_FOUND


class AlreadyThere(ClofyError):
    """There is one of that name, and it is not to be written over."""

    kind = Kind.CONFLICT


class LostBlocks(ClofyError):
    """Parts of the upload are gone; it has to be sent again."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Found:
    """A blob as a list shows it. etag: of this very content; another upload under the name has another one."""

    name: str
    etag: str
    modified_at: datetime


@cache
def _service() -> BlobServiceClient:
    """One client a process; it belongs to the loop that first used it. Raises NoStorage."""
    here = settings()
    connection_string = here.blob_connection_string.get_secret_value()
    patience: dict[str, Any] = {
        "connection_timeout": 5,
        "read_timeout": 20,
        "retry_policy": LinearRetry(backoff=1, retry_total=2, random_jitter_range=1),
    }
    patience |= {"max_single_put_size": 16 * 1024**2, "max_single_get_size": CHUNK, "max_chunk_get_size": CHUNK}
    if connection_string:
        return BlobServiceClient.from_connection_string(connection_string, **patience)
    if not here.blob_account_url:
        raise NoStorage
    credential = ManagedIdentityCredential(client_id=here.vault_identity or None)
    return BlobServiceClient(here.blob_account_url, credential, **patience)


@cache
def _opening() -> asyncio.Lock:
    return asyncio.Lock()


_open: set[Room] = set()


@asynccontextmanager
async def _blob(room: Room, name: str) -> AsyncIterator[BlobClient]:
    """A blob of a room, which is made at the first use. Raises NoSuchBlob, StorageAway."""
    try:
        await _make(room)
        yield _service().get_blob_client(room, name)
    except ResourceNotFoundError as error:
        raise NoSuchBlob(name=name) from error
    except AzureError as error:
        raise StorageAway(cause=type(error).__name__) from error


async def _make(room: Room) -> None:
    async with _opening():
        if room not in _open:
            with suppress(ResourceExistsError):
                await _service().create_container(room)
            _open.add(room)


async def close() -> None:
    """Give the connections back; the next use opens new ones."""
    if _service.cache_info().currsize:
        await _service().close()
    _service.cache_clear()
    _opening.cache_clear()
    _open.clear()


def _block_id(number: int) -> str:
    return f"{number:06}"  # of one length, as the service asks


async def stage(name: str, number: int, data: AsyncIterator[bytes], length: int) -> None:
    """Hand a block of an upload on as it comes in; nothing is kept here. The same number again takes its place.

    What `data` raises comes out as it is.
    """
    raised: list[Exception] = []

    async def watched() -> AsyncIterator[bytes]:
        try:
            async for chunk in data:
                yield chunk
        except Exception as error:  # the SDK would hide it under one of its own
            raised.append(error)
            raise

    try:
        async with _blob(Room.QUARANTINE, name) as blob:
            # What has gone by cannot be sent again: the client does that.
            await blob.stage_block(_block_id(number), watched(), length=length, retry_total=0)  # type: ignore[arg-type]  # it takes what aiohttp takes
    except Exception:
        if raised:
            raise raised[0] from None
        raise


async def join(name: str, blocks: int) -> None:
    """Make one blob of the blocks 0 to `blocks` - 1. Twice changes nothing. Raises LostBlocks."""
    async with _blob(Room.QUARANTINE, name) as blob:
        try:
            await blob.commit_block_list([BlobBlock(_block_id(number)) for number in range(blocks)])
        except HttpResponseError as error:
            if getattr(error, "error_code", None) == "InvalidBlockList":
                raise LostBlocks(name=name) from error
            raise


async def discard(name: str) -> None:
    """Forget an upload, also one whose blocks were never joined."""
    async with _blob(Room.QUARANTINE, name) as blob:
        await blob.commit_block_list([])
        await blob.delete_blob()


async def save(name: str, path: Path) -> None:
    """Bring an upload to this machine. Raises NoSuchBlob."""
    async with _blob(Room.QUARANTINE, name) as blob:
        reader = await blob.download_blob()
        with path.open("wb") as file:
            async for chunk in reader.chunks():
                file.write(chunk)


async def publish(name: str, content: bytes, kind: str) -> None:
    """Put a picture where everybody may see it. A twin is written over: it has the same content."""
    async with _blob(Room.PUBLIC, name) as blob:
        await blob.upload_blob(
            content,
            overwrite=True,
            content_settings=ContentSettings(content_type=kind, cache_control=FOR_EVER),
        )


async def read(name: str) -> tuple[int, AsyncIterator[bytes]]:
    """A public picture: how many bytes, and they. Raises NoSuchBlob."""
    async with _blob(Room.PUBLIC, name) as blob:
        reader = await blob.download_blob()

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in reader.chunks():
            yield chunk

    return reader.size, chunks()


async def remove(room: Room, found: Found) -> bool:
    """Delete what a list has shown, unless somebody has written it anew since. Returns whether it did."""
    try:
        async with _blob(room, found.name) as blob:
            try:
                await blob.delete_blob(etag=found.etag, match_condition=MatchConditions.IfNotModified)
            except HttpResponseError as error:
                if error.status_code == 412:  # precondition failed
                    return False
                raise
    except NoSuchBlob:
        return False
    return True


async def pages(room: Room, *, begins: str = "") -> AsyncIterator[Sequence[Found]]:
    """All that lies in a room, by name, some hundreds at a time. begins: only those whose names do."""
    try:
        await _make(room)
        here = _service().get_container_client(room)
        listed = here.list_blobs(name_starts_with=begins or None, results_per_page=500)
        async for page in listed.by_page():
            yield [Found(one.name, one.etag or "", one.last_modified) async for one in page]
    except AzureError as error:
        raise StorageAway(cause=type(error).__name__) from error


async def write(
    room: Room, name: str, chunks: AsyncIterator[bytes], *, kind: str = "application/octet-stream", once: bool = False
) -> None:
    """Write a blob of a private room as its bytes come in; it is there whole at the end, or not at all.

    once: not over another one. Raises AlreadyThere.
    What `chunks` raises comes out as it is.
    """
    mark, blocks = uuid4().hex, list[BlobBlock]()  # two who write the same name do not mix their blocks
    only_if: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if once else {}
    async for block in _blocks(chunks):
        blocks.append(BlobBlock(f"{mark}{len(blocks):06}"))
        async with _blob(room, name) as blob:
            await blob.stage_block(blocks[-1].id, BytesIO(block), length=len(block))
    async with _blob(room, name) as blob:
        try:
            await blob.commit_block_list(blocks, content_settings=ContentSettings(content_type=kind), **only_if)
        except HttpResponseError as error:
            if once and (error.status_code in (409, 412) or getattr(error, "error_code", "") == "InvalidBlockList"):
                raise AlreadyThere(room=room, name=name) from error  # another's commit drops our blocks, too
            raise


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of BLOCK."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) >= BLOCK:
            yield bytes(held[:BLOCK])
            del held[:BLOCK]
    if held:
        yield bytes(held)


async def fetch(room: Room, name: str) -> tuple[int, AsyncIterator[bytes]]:
    """A blob: how many bytes, and they, as they are asked for. Raises NoSuchBlob."""
    async with _blob(room, name) as blob:
        reader = await blob.download_blob()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async for chunk in reader.chunks():
                yield chunk
        except AzureError as error:
            raise StorageAway(cause=type(error).__name__) from error

    return reader.size, chunks()


async def erase(room: Room, name: str) -> bool:
    """Delete a blob, with its snapshots and older versions if the account keeps such. Returns whether it was there."""
    there = False
    with suppress(NoSuchBlob):
        async with _blob(room, name) as blob:
            await blob.delete_blob(delete_snapshots="include")
            there = True
    async with _blob(room, name) as blob:
        container = _service().get_container_client(room)
        async for one in container.list_blobs(name_starts_with=name, include=["versions"]):
            if one.name == name and one.version_id:
                await blob.delete_blob(version_id=one.version_id)
                there = True
    return there


async def lock(room: Room, name: str, *, until: datetime) -> bool:
    """Have the store itself refuse to change or delete a blob before `until`. Returns whether this store can."""
    policy = ImmutabilityPolicy(expiry_time=until, policy_mode="Locked")
    async with _blob(room, name) as blob:
        try:
            await blob.set_immutability_policy(policy)
        except HttpResponseError as error:
            if error.status_code in (400, 409, 501):  # neither the emulator nor an account without version-level WORM
                return False
            raise
    return True


async def link(room: Room, name: str, *, lives: timedelta, as_name: str) -> str:
    """An address by which anybody may read this one blob, until it has lived. as_name: of the file that is saved.

    Signed with the account's key at an emulator, with a key of the machine's identity elsewhere.
    """
    async with _blob(room, name) as blob:
        now = datetime.now(UTC)
        key: dict[str, Any] = {"account_key": getattr(_service().credential, "account_key", None)}
        if key["account_key"] is None:
            key = {"user_delegation_key": await _service().get_user_delegation_key(now - SKEW, now + lives)}
        signature = generate_blob_sas(
            blob.account_name or "",
            room,
            name,
            **key,
            permission=BlobSasPermissions(read=True),
            start=now - SKEW,
            expiry=now + lives,
            content_disposition=f'attachment; filename="{as_name}"',
            protocol="https" if blob.url.startswith("https:") else None,
        )
        return f"{blob.url}?{signature}"
