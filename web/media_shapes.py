"""What the API answers about pictures."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class UploadBegun(TypedDict):
    id: Id
    block_bytes: int  # of each block but the last
    blocks: int  # numbered from 0


class Source(TypedDict):
    """For <source>; the best first."""

    type: str
    srcset: str


class MediaFacts(TypedDict):
    id: Id
    name: str
    state: Literal["uploading", "processing", "ready", "refused"]
    reason: str | None
    sentence: str | None  # the reason for a person
    bytes: int
    width: int | None
    height: int | None
    colour: str | None
    src: str | None  # once it is ready
    sources: list[Source]
    job: Id | None
    created_at: Time


class UploadFacts(MediaFacts):
    arrived: list[int]  # blocks that need not be sent again


class MediaRows(TypedDict):
    media: list[MediaFacts]
    next: Id | None


class UploadDone(TypedDict):
    media: Id
    job: Id
