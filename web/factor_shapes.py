"""What the API answers about second factors, as /openapi.json describes it."""

from typing import Literal

from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

from web.shapes import Id, Time


class PasskeyFacts(TypedDict):
    id: Id
    name: str
    created_at: Time
    used_at: Time | None
    backed_up: bool  # synchronised: the loss of one device does not lose it


class LostFacts(TypedDict):
    created_at: Time
    due_at: Time  # then the factors are removed


class FactorFacts(TypedDict):
    totp_since: Time | None
    passkeys: list[PasskeyFacts]
    recovery_codes_left: int
    email_codes: bool
    lost: LostFacts | None


class EnrolmentFacts(TypedDict):
    key: str  # for typing, in groups of four
    uri: str
    qr: str  # an SVG of the same


class MadeCodes(TypedDict):
    """The session goes on under a fresh id: the cookie came with the answer, and so does its CSRF token."""

    state: Literal["signed_in"]
    methods: list[str]  # none is waited for
    csrf_token: str
    recovery_codes: list[str]  # shown this once; empty if there were some before


class MadePasskey(MadeCodes):
    passkey: PasskeyFacts
