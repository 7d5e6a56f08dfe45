"""What the API answers about teams; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time

Role = Literal["owner", "member"]
Sees = Literal["usage", "content"]  # of a member; content: usage, and the words of what is begun from then on


class TeamRow(TypedDict):
    id: Id
    name: str
    role: Role  # one's own
    sees: Sees  # what its owners see of oneself
    content_since: Time | None
    joined_at: Time
    members: int


class Teams(TypedDict):
    teams: list[TeamRow]  # by their names


class MemberFacts(TypedDict):
    account_id: Id
    name: str
    role: Role
    joined_at: Time
    you: bool
    email: str | None  # the next two for owners, and of oneself
    sees: Sees | None


class SentInvitation(TypedDict):
    id: Id
    email: str
    created_at: Time
    expires_at: Time


class TeamFacts(TeamRow):
    created_at: Time
    people: list[MemberFacts]  # owners first, then who is in it the longest
    invitations: list[SentInvitation]  # that are open; for owners


class InvitationFacts(TypedDict):
    id: Id
    team: str  # its name
    by: str  # the address of who invites
    owners: list[str]  # what those are called who would see something of you
    created_at: Time
    expires_at: Time


class Invitations(TypedDict):
    invitations: list[InvitationFacts]  # to one's own address, newest first


class UsageDay(TypedDict):
    account_id: Id
    day: str  # of UTC
    service: str
    questions: int
    used_mc: int


class MemberUsage(TypedDict):
    account_id: Id
    name: str
    since: Time  # nothing from before is counted
    questions: int
    used_mc: int


class UsageMonth(TypedDict):
    month: str  # as 2026-03, of UTC
    questions: int
    used_mc: int


class TeamUsage(TypedDict):
    """Of members since each joined; what a month of the team comes to changes when somebody leaves."""

    month: str
    members: list[MemberUsage]  # in this month
    days: list[UsageDay]  # of this month, newest first
    months: list[UsageMonth]  # of all together, newest first


class LookFacts(TypedDict):
    id: str
    at: Time
    team: str  # as it was called then
    by: str  # what who looked is called now; empty: they are gone
    what: Literal["usage", "list", "consultation"]
    consultation_id: Id | None


class Looks(TypedDict):
    looks: list[LookFacts]  # latest first
    next: str | None
