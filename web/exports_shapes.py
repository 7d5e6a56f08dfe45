"""What the API answers about copies of one's data; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class ExportFacts(TypedDict):
    id: Id
    job: Id  # while it is made, its events tell how far it is: progress {done, of, bytes}
    state: Literal["building", "ready", "failed", "replaced"]  # replaced: by a later one
    done: int
    of: int  # steps; 0 until it has begun
    rows: int
    files: int
    files_missing: int  # pictures that our storage did not have any more
    bytes: int
    size: str  # the same as people read it
    created_at: Time
    ready_at: Time | None
    ends_at: Time | None  # when it is deleted
    fetched_at: Time | None  # when a link was given, last
    what_to_do: str | None  # where it failed


class Exports(TypedDict):
    exports: list[ExportFacts]  # newest first; at most 10


class FileLink(TypedDict):
    url: str
    until: Time
