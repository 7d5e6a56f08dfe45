"""Pictures: their uploads, block by block, the library of all, and the published files."""

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from quart import Blueprint, Response, g, request
from quart.typing import ResponseReturnValue
from quart_schema import hide
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.direct import direct
from core.errors import ClofyError, InvalidInput, NotFound
from core.media import blobs, library, uploads
from core.media.kinds import Reason
from core.media.library import TYPES, Picture
from core.media.models import MediaState
from web.inputs import Input, arriving, last_id, streamed, takes
from web.media_shapes import MediaRows, UploadBegun, UploadDone, UploadFacts
from web.openapi import AFTER_ID, answers, query
from web.replay import once
from web.session import admin_only, open_to_all

PAGE = 50
LONGEST_PART = 100
FILE = re.compile(r"[0-9a-f]{64}\.(avif|webp)")

blueprint = Blueprint("media", __name__)
blueprint.after_app_serving(blobs.close)


class NewMedia(Input):
    """sha256: of the whole file, in hexadecimal; then what arrives is compared with it"""

    name: str = Field(min_length=1, max_length=1000)
    bytes: int = Field(ge=1, le=uploads.MOST_BYTES)
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None


@blueprint.post("/api/media")
@admin_only
@answers(UploadBegun, status=201, keyed=True, problems=(429,))
@takes(NewMedia)
async def begin(data: NewMedia) -> ResponseReturnValue:
    """Announce a picture. Its blocks follow, in any order, several at once; then it is completed."""

    async def create(session: AsyncSession) -> dict[str, Any]:
        media = await uploads.begin(
            session,
            account_id=g.account.id,
            name=data.name,
            size=data.bytes,
            sha256=bytes.fromhex(data.sha256) if data.sha256 else None,
        )
        return {"id": str(media.id), "block_bytes": uploads.BLOCK, "blocks": uploads.block_count(media)}

    return await once(create, transaction), 201


@blueprint.put("/api/media/<uuid:upload_id>/blocks/<int:block>")
@admin_only
@answers(None, status=204, problems=(404, 408, 409))
@streamed
async def take_block(upload_id: UUID, block: int) -> ResponseReturnValue:
    """A block of the file, as it is. One that was cut off is sent again; others need not be."""
    async with direct() as unit:
        size = await uploads.uploading(unit, upload_id, account_id=g.account.id)
    length = uploads.block_bytes(size, block)
    said = request.content_length if "Transfer-Encoding" not in request.headers else length
    if said != length:  # without either header there is no body
        raise _wrong_length(length)
    await blobs.stage(str(upload_id), block, exactly(length, arriving()), length)
    async with direct() as unit:
        await uploads.arrived(unit, upload_id, block, account_id=g.account.id)
    return "", 204


async def exactly(length: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks; more or less than `length` bytes are not taken.

    Each waits for the next one, so that the last is given only when the body has ended: who reads takes `length` bytes
    and then asks no more, and would not see what follows.
    """
    left, held = length, b""
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise _wrong_length(length)
        if held:
            yield held
        held = chunk
    if left:
        raise _wrong_length(length)
    yield held


def _wrong_length(length: int) -> InvalidInput:
    return InvalidInput(field="body", rule=f"must have {length} bytes")


@blueprint.post("/api/media/<uuid:upload_id>/complete")
@admin_only
@answers(UploadDone, status=202, problems=(409,))
async def complete(upload_id: UUID) -> ResponseReturnValue:
    """All blocks are there: the picture is made of them by a job. Twice gives the same job."""
    async with transaction() as session:
        job_id = await uploads.complete(session, upload_id, account_id=g.account.id)
    return {"media": upload_id, "job": job_id}, 202


@blueprint.get("/api/media")
@admin_only
@query(after=AFTER_ID, part={"type": "string", "maxLength": LONGEST_PART})
@answers(MediaRows)
async def index() -> ResponseReturnValue:
    """All pictures, the latest first; `part` is of the name."""
    part = request.args.get("part", "")
    if len(part) > LONGEST_PART:
        raise InvalidInput(field="part", rule="must be a part of a name")
    after = last_id(request.args.get("after", ""))
    async with transaction() as session:
        found = await library.page(session, part=part, after=after, limit=PAGE)
    return {
        "media": [shown(one) for one in found],
        "next": found[-1].media.id if len(found) == PAGE else None,
    }


@blueprint.get("/api/media/<uuid:media_id>")
@admin_only
@answers(UploadFacts)
async def show(media_id: UUID) -> ResponseReturnValue:
    """A picture; of an upload, the blocks that have arrived."""
    async with transaction() as session:
        found = await library.get(session, media_id)
        return {**shown(found), "arrived": await uploads.blocks_of(session, media_id)}


@blueprint.delete("/api/media/<uuid:media_id>")
@admin_only
@answers(None, status=204, problems=(409,))
async def delete(media_id: UUID) -> ResponseReturnValue:
    """Stop an upload, or delete a picture that nothing shows."""
    async with transaction() as session:
        gone = await library.remove(session, media_id)
    if gone.state == MediaState.UPLOADING:
        with suppress(ClofyError):  # then the sweep does it
            await blobs.discard(str(media_id))
    return "", 204


def shown(picture: Picture) -> dict[str, Any]:
    """As the API, and pages that let one choose, show it."""
    media, is_ready = picture.media, picture.media.state == MediaState.READY
    names = ("id", "name", "state", "reason", "width", "height", "colour", "created_at")
    return {
        **{name: getattr(media, name) for name in names},
        "sentence": Reason(media.reason).sentence if media.reason else None,
        "bytes": media.size,
        "src": picture.src if is_ready else None,
        "sources": [{"type": kind, "srcset": picture.srcset(name)} for name, kind in TYPES.items()] if is_ready else [],
        "job": media.job_id,
    }


@blueprint.get("/media/<name>")
@open_to_all
@hide
async def read(name: str) -> ResponseReturnValue:
    """A published file, handed on from the storage. An edge keeps it for ever, so it is asked for once."""
    if FILE.fullmatch(name) is None:
        raise NotFound(name=name)
    headers = {
        "Cache-Control": blobs.FOR_EVER,
        "ETag": f'"{name}"',  # its content's hash
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    if name in request.if_none_match:
        return Response(status=304, headers=headers)
    size, chunks = await blobs.read(name)
    response = Response(chunks, headers=headers, content_type=TYPES[name.rpartition(".")[2]])
    response.content_length = size
    return response
