"""What the API answers about our documents, consents and counts; the rest is in web/shapes.py."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Time

Documents = Literal["privacy", "terms", "cookies"]


class VersionFacts(TypedDict):
    document: Documents
    title: str
    number: int
    weight: Literal["first", "minor", "material"]
    summary: str  # what changed
    hash: str  # SHA-256 of the text, in hexadecimal figures
    effective_at: Time
    published_at: Time
    href: str


class Versions(TypedDict):
    versions: list[VersionFacts]  # those in force, and those that are coming


class QuestionFacts(TypedDict):
    version: VersionFacts
    due: bool  # it is in force: without a yes nothing is bought and nothing asked
    declined: bool


class EngagementFacts(TypedDict):
    document: Documents
    number: int
    what: Literal["told", "shown", "seen", "accepted", "declined"]
    via: str
    at: Time


class Engagements(TypedDict):
    questions: list[QuestionFacts]
    engagements: list[EngagementFacts]  # newest first


class ConsentFacts(TypedDict):
    purpose: Literal["analytics"]
    wanted: bool
    words: int  # the version of what was asked
    via: Literal["panel", "cookies", "account", "signal"]
    gpc: bool  # the browser sent Global Privacy Control
    at: Time


class Consents(TypedDict):
    wanted: bool  # whether pages are counted for this account in this browser now
    signal: bool  # the browser's opt-out signal is honoured
    consents: list[ConsentFacts]  # newest first
