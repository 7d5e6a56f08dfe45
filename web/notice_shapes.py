"""What the API answers about notices and mails; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class NoticeFacts(TypedDict):
    id: Id
    kind: str
    title: str
    text: str
    href: str | None  # the page where it is seen, or undone
    created_at: Time
    read: bool


class Notices(TypedDict):
    notices: list[NoticeFacts]  # newest first
    unread: int  # of all, not of this page
    next: str | None  # the `after` of the next page


class MailFacts(TypedDict):
    subject: str
    state: Literal["queued", "sending", "sent", "deferred", "bounced", "suppressed", "failed"]
    created_at: Time
    sent_at: Time | None


class Mails(TypedDict):
    mails: list[MailFacts]  # to this account, newest first; at most 20


class TopicFacts(TypedDict):
    topic: Literal["announcements", "low_balance"]
    words: str
    wanted: bool


class Topics(TypedDict):
    topics: list[TopicFacts]


class DeliveryFacts(MailFacts):
    id: Id
    recipient: str
    template: str
    error: str | None
    resends: int
    can_resend: bool


class Deliveries(TypedDict):
    mails: list[DeliveryFacts]  # newest first
    counts: dict[str, int]  # of all that are not sent, by state
    next: str | None


class AnnouncementFacts(TypedDict):
    id: Id
    title: str
    text: str
    state: Literal["running", "stopped", "done"]
    written: int  # mails so far
    created_at: Time


class Announcements(TypedDict):
    announcements: list[AnnouncementFacts]  # newest first
