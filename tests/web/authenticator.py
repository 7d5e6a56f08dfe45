"""A device with passkeys, without a browser around it: it answers whatever it is asked, by whomever."""

import base64
import hashlib
import json
import secrets
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from core.accounts.factors.webauthn_api import relying_party

PRESENT, VERIFIED, NEW_KEY = 0x01, 0x04, 0x40  # WebAuthn level 3, 6.1


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Device:
    """One key. owner: whose it says it is when it signs; known once it was made."""

    def __init__(self) -> None:
        self.key, self.id = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16)
        self.owner, self.count = "", 0
        self.flags = PRESENT | VERIFIED

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to navigator.credentials.create()."""
        self.owner = options["user"]["id"]
        point = self.key.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)})
        data = self._data(NEW_KEY) + bytes(16) + len(self.id).to_bytes(2) + self.id + public
        attested = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options)
        return self._answer({"attestationObject": text(attested), "clientDataJSON": text(client)})

    def sign(self, options: dict[str, Any]) -> dict[str, Any]:
        """The answer to navigator.credentials.get()."""
        data, client = self._data(), self._client("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        signed = {"authenticatorData": text(data), "clientDataJSON": text(client), "signature": text(signature)}
        return self._answer({**signed, "userHandle": self.owner})

    def _answer(self, response: dict[str, str]) -> dict[str, Any]:
        return {"id": text(self.id), "rawId": text(self.id), "type": "public-key", "response": response}

    def _data(self, more: int = 0) -> bytes:
        self.count += 1
        rp_id = hashlib.sha256(relying_party()[0].encode()).digest()
        return rp_id + bytes([self.flags | more]) + self.count.to_bytes(4)

    @staticmethod
    def _client(kind: str, options: dict[str, Any]) -> bytes:
        origin = relying_party()[1][0]
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": origin}).encode()
