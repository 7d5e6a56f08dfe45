"""Passkeys of accounts: as a second factor, and as the whole of a sign-in where the device asks who holds it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors import webauthn_api
from core.accounts.factors.models import Challenge, Passkey
from core.accounts.factors.webauthn_api import Signed, WrongPasskey
from core.accounts.models import Account
from core.errors import ClofyError, Kind, NotFound

CHALLENGE_LIFE = timedelta(minutes=5)
MOST = 20  # of one account


class Purpose(StrEnum):
    """What a challenge was made for; an answer to one is no answer to another."""

    MAKE = "make"
    SIGN_IN = "sign_in"  # without a password: the device must have verified its user
    SECOND_FACTOR = "second_factor"


class TooManyPasskeys(ClofyError):
    """This account has as many passkeys as it may have; remove one first."""

    kind = Kind.CONFLICT


class PasskeyThere(ClofyError):
    """This passkey is known already."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Asked:
    """A challenge that was taken back: it counts no more. account_id: whom it was made for, if for anybody."""

    challenge: bytes
    account_id: UUID | None


async def list_of(session: AsyncSession, *, account_id: UUID) -> Sequence[Passkey]:
    query = select(Passkey).where(Passkey.account_id == account_id).order_by(Passkey.id)
    return (await session.scalars(query)).all()


async def _challenge(session: AsyncSession, purpose: Purpose, *, bound_to: bytes, account_id: UUID | None) -> bytes:
    made = secrets.token_bytes(32)
    session.add(
        Challenge(
            challenge=made,
            purpose=purpose,
            bound_to=bound_to,
            account_id=account_id,
            expires_at=func.now() + CHALLENGE_LIFE,
        )
    )
    await session.flush()
    return made


async def ask_to_make(session: AsyncSession, *, account: Account, bound_to: bytes) -> dict[str, Any]:
    """What the browser is to make a key for. Raises TooManyPasskeys."""
    there = await list_of(session, account_id=account.id)
    if len(there) >= MOST:
        raise TooManyPasskeys
    return webauthn_api.options_to_make(
        challenge=await _challenge(session, Purpose.MAKE, bound_to=bound_to, account_id=account.id),
        account_id=account.id,
        email=account.email,
        name=account.name,
        there=there,
    )


async def ask_to_sign(session: AsyncSession, *, account_id: UUID | None, bound_to: bytes) -> dict[str, Any]:
    """What the browser is to sign: for this account's second step, or, without one, to sign in."""
    purpose = Purpose.SIGN_IN if account_id is None else Purpose.SECOND_FACTOR
    challenge = await _challenge(session, purpose, bound_to=bound_to, account_id=account_id)
    allowed = await list_of(session, account_id=account_id) if account_id is not None else []
    return webauthn_api.options_to_sign(challenge=challenge, allowed=allowed, must_verify=purpose is Purpose.SIGN_IN)


async def take_back(
    session: AsyncSession, credential: dict[str, Any], *, purpose: Purpose, bound_to: bytes
) -> Asked | None:
    """The challenge that is answered, once; None if it is not known, not this browser's, or too old.

    Commit before the answer is looked at: a wrong answer uses the challenge up too. Raises WrongPasskey.
    """
    mine = (
        Challenge.challenge == webauthn_api.challenge_of(credential),
        Challenge.purpose == purpose,
        Challenge.bound_to == bound_to,
        Challenge.expires_at > func.now(),
    )
    row = (
        await session.execute(delete(Challenge).where(*mine).returning(Challenge.challenge, Challenge.account_id))
    ).one_or_none()
    return None if row is None else Asked(challenge=row.challenge, account_id=row.account_id)


async def add(
    session: AsyncSession, credential: dict[str, Any], *, asked: Asked, account_id: UUID, name: str
) -> Passkey:
    """Keep a new key. Raises WrongPasskey, PasskeyThere."""
    if asked.account_id != account_id:
        raise WrongPasskey
    made = webauthn_api.check_made(credential, challenge=asked.challenge)
    row = insert(Passkey).values(
        account_id=account_id,
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        aaguid=made.aaguid,
        transports=made.transports,
        backup_eligible=made.backup_eligible,
        backed_up=made.backed_up,
        name=name,
    )
    kept = (await session.scalars(row.on_conflict_do_nothing().returning(Passkey))).one_or_none()
    if kept is None:
        raise PasskeyThere
    return kept


async def use(session: AsyncSession, credential: dict[str, Any], *, asked: Asked) -> Passkey:
    """The key that signed. Raises WrongPasskey.

    Without an account in `asked` the key alone says who signs in, and must have verified its user.
    """
    credential_id, handle = webauthn_api.credential_of(credential)
    passkey = await session.scalar(select(Passkey).where(Passkey.credential_id == credential_id))
    if passkey is None or asked.account_id not in (None, passkey.account_id):
        raise WrongPasskey
    if (handle is None and asked.account_id is None) or handle not in (None, passkey.account_id.bytes):
        raise WrongPasskey
    signed = webauthn_api.check_signed(
        credential, challenge=asked.challenge, passkey=passkey, must_verify=asked.account_id is None
    )
    await _count(session, passkey.id, signed)
    return passkey


async def _count(session: AsyncSession, passkey_id: UUID, signed: Signed) -> None:
    """One statement, so that of two signatures with one count the first is accepted; many devices do not count."""
    newer = Passkey.sign_count < signed.sign_count
    if signed.sign_count == 0:
        newer = Passkey.sign_count == 0
    counted = (
        update(Passkey)
        .where(Passkey.id == passkey_id, newer)
        .values(sign_count=signed.sign_count, backed_up=signed.backed_up, used_at=func.now())
    )
    if await session.scalar(counted.returning(Passkey.id)) is None:
        raise WrongPasskey


async def rename(session: AsyncSession, *, account_id: UUID, passkey_id: UUID, name: str) -> Passkey:
    """Raises NotFound."""
    mine = update(Passkey).where(Passkey.account_id == account_id, Passkey.id == passkey_id).values(name=name)
    renamed = (await session.scalars(mine.returning(Passkey))).one_or_none()
    if renamed is None:
        raise NotFound
    return renamed


async def remove(session: AsyncSession, *, account_id: UUID, passkey_id: UUID) -> str:
    """The name of the key that was removed. Raises NotFound."""
    mine = delete(Passkey).where(Passkey.account_id == account_id, Passkey.id == passkey_id)
    name: str | None = await session.scalar(mine.returning(Passkey.name))
    if name is None:
        raise NotFound
    return name


async def remove_all(session: AsyncSession, *, account_id: UUID) -> None:
    await session.execute(delete(Passkey).where(Passkey.account_id == account_id))
