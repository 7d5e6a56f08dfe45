"""The WebAuthn ceremonies, by py_webauthn: what a browser is asked, and whether what it answers holds.

Nothing of ours is read or written here. Whatever cannot be read or does not hold is WrongPasskey.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import webauthn
from webauthn.helpers import (
    options_to_json,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from core.accounts.factors.models import Passkey
from core.errors import ClofyError, Kind
from core.settings import Environment, settings

NAME = "Clofy Cloud"
TIMEOUT_MS = 300_000  # as long as a challenge lives; people look for their key


class WrongPasskey(ClofyError):
    """This passkey was not accepted. Try again, or take another way."""

    kind = Kind.INVALID


@dataclass(frozen=True)
class Made:
    """A new key, as its device describes it."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: str
    transports: list[str]
    backup_eligible: bool
    backed_up: bool


@dataclass(frozen=True)
class Signed:
    """What came of a valid signature. user_verified: the device has asked for a PIN, a finger or a face."""

    sign_count: int
    backed_up: bool
    user_verified: bool


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of a stranger's bytes the library also raises what it does not document
        raise WrongPasskey(error=type(error).__name__) from error


def relying_party() -> tuple[str, list[str]]:
    """Our name for passkeys, and the origins that they may be used at.

    Browsers take no IP address as a name: a sandbox that is reached by one has passkeys at http://localhost alone.
    """
    url = urlsplit(settings().public_url.lower())
    host = url.hostname or ""
    try:
        is_address = bool(ip_address(host))
    except ValueError:
        return host, [f"{url.scheme}://{url.netloc}"]
    if settings().environment is Environment.SANDBOX and is_address:
        return "localhost", [f"{url.scheme}://localhost:{url.port}" if url.port else f"{url.scheme}://localhost"]
    return host, [f"{url.scheme}://{url.netloc}"]


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id, transports=[AuthenticatorTransport(name) for name in one.transports]
        )
        for one in passkeys
    ]


def options_to_make(
    *, challenge: bytes, account_id: UUID, email: str, name: str, there: Sequence[Passkey]
) -> dict[str, Any]:
    """For navigator.credentials.create(); there: keys of the account, whose devices are not asked for a second one."""
    options = webauthn.generate_registration_options(
        rp_id=relying_party()[0],
        rp_name=NAME,
        user_id=account_id.bytes,
        user_name=email,
        user_display_name=name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(there),
    )
    told: dict[str, Any] = json.loads(options_to_json(options))
    return told


def options_to_sign(*, challenge: bytes, allowed: Sequence[Passkey], must_verify: bool) -> dict[str, Any]:
    """For navigator.credentials.get(); without `allowed`, the browser offers what it has for this site."""
    need = UserVerificationRequirement.REQUIRED if must_verify else UserVerificationRequirement.PREFERRED
    options = webauthn.generate_authentication_options(
        rp_id=relying_party()[0],
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=_descriptors(allowed),
        user_verification=need,
    )
    told: dict[str, Any] = json.loads(options_to_json(options))
    return told


def challenge_of(credential: dict[str, Any]) -> bytes:
    """The challenge that an answer claims to be for. Raises WrongPasskey."""
    with _refusing():
        made = "attestationObject" in credential["response"]
        read = parse_registration_credential_json if made else parse_authentication_credential_json
        return parse_client_data_json(read(credential).response.client_data_json).challenge


def credential_of(credential: dict[str, Any]) -> tuple[bytes, bytes | None]:
    """The id of the key that signed, and whose it says it is. Raises WrongPasskey."""
    with _refusing():
        read = parse_authentication_credential_json(credential)
        return read.raw_id, read.response.user_handle


def check_made(credential: dict[str, Any], *, challenge: bytes) -> Made:
    """Raises WrongPasskey."""
    rp_id, origins = relying_party()
    with _refusing():
        read = parse_registration_credential_json(credential)
        done = webauthn.verify_registration_response(
            credential=read, expected_challenge=challenge, expected_rp_id=rp_id, expected_origin=origins
        )
        return Made(
            credential_id=done.credential_id,
            public_key=done.credential_public_key,
            sign_count=done.sign_count,
            aaguid=done.aaguid,
            transports=[one.value for one in read.response.transports or []],
            backup_eligible=done.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            backed_up=done.credential_backed_up,
        )


def check_signed(credential: dict[str, Any], *, challenge: bytes, passkey: Passkey, must_verify: bool) -> Signed:
    """Raises WrongPasskey, also when the device has counted fewer signatures than we have seen: it was copied."""
    rp_id, origins = relying_party()
    with _refusing():
        done = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origins,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=must_verify,
        )
        return Signed(
            sign_count=done.new_sign_count, backed_up=done.credential_backed_up, user_verified=done.user_verified
        )
