"""What an account has to prove itself with, beside its password."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.factors import passkeys, recovery
from core.accounts.factors.models import LostFactor, Method, Passkey, Totp
from core.accounts.models import Account


@dataclass(frozen=True)
class Factors:
    """For the owner's eyes. totp_since: when the authenticator app was confirmed; None: there is none."""

    totp_since: datetime | None
    passkeys: list[Passkey]
    recovery_codes_left: int
    email_codes: bool
    lost: LostFactor | None  # somebody says that these are lost, and it is not decided yet

    @property
    def strong(self) -> bool:
        """Whether there is one that does not come by mail."""
        return self.totp_since is not None or bool(self.passkeys)


async def of_account(session: AsyncSession, *, account_id: UUID) -> Factors:
    return Factors(
        totp_since=await session.scalar(select(Totp.confirmed_at).where(Totp.account_id == account_id)),
        passkeys=list(await passkeys.list_of(session, account_id=account_id)),
        recovery_codes_left=await recovery.left(session, account_id=account_id),
        email_codes=await session.scalar(select(Account.email_codes).where(Account.id == account_id)) or False,
        lost=await session.scalar(
            select(LostFactor).where(LostFactor.account_id == account_id, LostFactor.ended_at.is_(None))
        ),
    )


async def asked_for(session: AsyncSession, *, account: Account) -> tuple[Method, ...]:
    """How this account's sign-in is completed after the password, best first; empty: the password is enough.

    Codes by mail are asked for only where nothing better is set up, and by choice: then in every browser, as the
    cookie of a known one is no proof (browsers.py).
    """
    factors = await of_account(session, account_id=account.id)
    if factors.strong:
        has = {
            Method.PASSKEY: bool(factors.passkeys),
            Method.TOTP: factors.totp_since is not None,
            Method.RECOVERY_CODE: factors.recovery_codes_left > 0,
        }
        return tuple(method for method, there in has.items() if there)
    return (Method.EMAIL_CODE,) if factors.email_codes else ()
