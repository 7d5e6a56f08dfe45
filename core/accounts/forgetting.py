"""What accounts leave behind, and when it goes."""

from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts.factors.models import Challenge, EmailCode, LostFactor, SignInAttempt, Totp
from core.accounts.models import Account, AccountCode, WebSession
from core.accounts.web_sessions import IDLE_END
from core.mail.models import Delivery

UNPROVEN_KEPT = timedelta(days=7)  # an address that nobody confirmed may be somebody's who never asked for this
LOST_KEPT = timedelta(days=365)  # as the audit log
TRACES_KEPT = timedelta(days=1)  # longer than any code lives


async def forget_ended(session: AsyncSession) -> dict[str, int]:
    """Delete ended sessions, yesterday's codes, unproven accounts, and what was noted a year ago; how many."""
    ended = (WebSession.expires_at < func.now()) | (WebSession.seen_at < func.now() - IDLE_END)
    unproven = Account.email_verified_at.is_(None) & (Account.created_at < func.now() - UNPROVEN_KEPT)
    gone = {
        "sessions": delete(WebSession).where(ended),
        "codes": delete(AccountCode).where(AccountCode.created_at < func.now() - TRACES_KEPT),
        "attempts": delete(SignInAttempt).where(SignInAttempt.expires_at < func.now()),
        "challenges": delete(Challenge).where(Challenge.expires_at < func.now()),
        "email_codes": delete(EmailCode).where(EmailCode.created_at < func.now() - TRACES_KEPT),
        "unconfirmed_apps": delete(Totp).where(Totp.confirmed_at.is_(None), Totp.created_at < func.now() - TRACES_KEPT),
        "lost_factors": delete(LostFactor).where(LostFactor.ended_at < func.now() - LOST_KEPT),
        "accounts": delete(Account).where(unproven),
        "words_to_nobody": delete(Delivery).where(
            Delivery.template == "no_account", Delivery.created_at < func.now() - UNPROVEN_KEPT
        ),
    }
    counts = {
        name: cast("CursorResult[Any]", await session.execute(statement)).rowcount for name, statement in gone.items()
    }
    return {**counts, "tries": await limits.forget_old(session), "audit": await audit.forget_old(session)}
