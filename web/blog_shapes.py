"""What the blog's API answers; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class PostRow(TypedDict):
    slug: str
    title: str
    summary: str
    tags: list[str]
    author: str
    cover: str  # a path of ours, or empty
    cover_alt: str
    published_at: Time
    updated_at: Time


class PostRows(TypedDict):
    posts: list[PostRow]  # the newest first
    next: int | None  # the `page` to ask for then


class PostFacts(PostRow):
    html: str  # sanitised
    likes: int


State = Literal["draft", "review", "scheduled", "published", "unlisted", "archived"]


class DeskRow(TypedDict):
    id: Id
    state: State
    version: int
    title: str
    slug: str
    scheduled_at: Time | None
    published_at: Time | None
    updated_at: Time


class DeskRows(TypedDict):
    posts: list[DeskRow]  # the newest first
    next: Id | None


class DeskPost(DeskRow):
    source: str
    findings: list[str]  # what keeps it from being published


class Preview(TypedDict):
    title: str
    html: str
    findings: list[str]


class RevisionRow(TypedDict):
    id: Id
    number: int | None  # null: kept aside, as somebody else's came first
    based_on: int
    made_by: str | None
    made_at: Time


class RevisionFacts(RevisionRow):
    source: str


class RevisionRows(TypedDict):
    revisions: list[RevisionRow]


class CommentFacts(TypedDict):
    id: Id
    state: Literal["waiting", "shown", "refused"]
    text: str
    made_at: Time


class WaitingComment(CommentFacts):
    slug: str
    title: str
    name: str  # of its writer


class WaitingComments(TypedDict):
    comments: list[WaitingComment]  # the oldest first
