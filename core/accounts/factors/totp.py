"""Codes of an authenticator app: RFC 6238, six digits, 30 seconds, each step accepted once."""

import base64
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from uuid import UUID

import pyotp
import segno
from pyotp.exceptions import OTPVerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors.models import Totp
from core.errors import ClofyError, Kind
from core.sealing import SealedColumn

ISSUER = "Clofy Cloud"
SECRET_BYTES = 20  # 160 bits (RFC 4226, 4)
STEP = timedelta(seconds=30)
ONE_CODE = re.compile("[0-9]{6}")  # pyotp compares after NFKC: full-width digits would verify, and pass a guard

SEALED = SealedColumn(Totp.secret, key=Totp.account_id)


class TotpThere(ClofyError):
    """This account has an authenticator app already; remove it before you add another one."""

    kind = Kind.CONFLICT


class NoTotpBegun(ClofyError):
    """There is no authenticator app to confirm; begin again."""

    kind = Kind.CONFLICT


@dataclass(frozen=True)
class Enrolment:
    """What is shown once. key: for typing, in groups of four; qr: an SVG."""

    key: str
    uri: str
    qr: str


def _text(secret: bytes) -> str:
    return base64.b32encode(secret).decode()


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The time step that a code is of: this one, or the one before it for slow typists; none ahead (RFC 6238, 5.2)."""
    if ONE_CODE.fullmatch(code) is None:
        return None
    totp = pyotp.TOTP(_text(secret))
    for moment in (now, now - STEP):
        try:
            return totp.verify_and_get_timecode(code, for_time=moment)
        except OTPVerificationError:
            continue
    return None


async def begin(session: AsyncSession, *, account_id: UUID, email: str) -> Enrolment:
    """Make a secret, in the place of one that was not confirmed. Raises TotpThere."""
    secret = secrets.token_bytes(SECRET_BYTES)
    row = insert(Totp).values(account_id=account_id, secret=SEALED.seal(account_id, secret))
    anew = row.on_conflict_do_update(
        index_elements=[Totp.account_id],
        set_={"secret": row.excluded.secret, "created_at": func.now(), "last_step": 0},
        where=Totp.confirmed_at.is_(None),
    )
    if await session.scalar(anew.returning(Totp.account_id)) is None:
        raise TotpThere
    return describe(secret, email=email)


def describe(secret: bytes, *, email: str) -> Enrolment:
    text = _text(secret)
    uri = pyotp.TOTP(text).provisioning_uri(name=email, issuer_name=ISSUER)
    drawn = BytesIO()
    segno.make(uri, error="m").save(
        drawn, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False, title="QR code", omitsize=True
    )
    groups = " ".join(text[start : start + 4] for start in range(0, len(text), 4))
    return Enrolment(key=groups, uri=uri, qr=drawn.getvalue().decode())


async def confirm(session: AsyncSession, *, account_id: UUID, code: str, now: datetime | None = None) -> bool:
    """Take the app into use by its first code, which counts as used. Raises NoTotpBegun."""
    waiting = (Totp.account_id == account_id, Totp.confirmed_at.is_(None))
    sealed = await session.scalar(select(Totp.secret).where(*waiting))
    if sealed is None:
        raise NoTotpBegun
    step = step_of(SEALED.unseal(account_id, sealed), code, now or datetime.now(UTC))
    if step is None:
        return False
    # The secret too: another tab may have begun anew meanwhile.
    taken = update(Totp).where(*waiting, Totp.secret == sealed).values(confirmed_at=func.now(), last_step=step)
    return await session.scalar(taken.returning(Totp.account_id)) is not None


async def use(session: AsyncSession, *, account_id: UUID, code: str, now: datetime | None = None) -> bool:
    """Accept a code, if its step is above all that were accepted: one statement, so that one of parallel tries wins."""
    sealed = await session.scalar(
        select(Totp.secret).where(Totp.account_id == account_id, Totp.confirmed_at.is_not(None))
    )
    if sealed is None:
        return False
    step = step_of(SEALED.unseal(account_id, sealed), code, now or datetime.now(UTC))
    if step is None:
        return False
    newer = (Totp.account_id == account_id, Totp.confirmed_at.is_not(None), Totp.last_step < step)
    accepted = update(Totp).where(*newer).values(last_step=step).returning(Totp.account_id)
    return await session.scalar(accepted) is not None


async def remove(session: AsyncSession, *, account_id: UUID) -> bool:
    """Returns whether one was in use."""
    gone = delete(Totp).where(Totp.account_id == account_id).returning(Totp.confirmed_at)
    return await session.scalar(gone) is not None


async def provide(session: AsyncSession, *, account_id: UUID, secret: str) -> None:
    """Have this secret in use, as text in base 32; for the sandbox's admin. Twice is once, and forgets no step."""
    raw = base64.b32decode(secret)
    row = insert(Totp).values(account_id=account_id, secret=SEALED.seal(account_id, raw), confirmed_at=func.now())
    anew = row.on_conflict_do_update(
        index_elements=[Totp.account_id], set_={name: row.excluded[name] for name in ("secret", "confirmed_at")}
    )
    await session.execute(anew)
