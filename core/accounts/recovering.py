"""Asking, in a sign-in that cannot be completed, for the removal of a lost second factor."""

from core import audit, limits
from core.accounts import attempts
from core.accounts.factors import email_codes, lost
from core.accounts.factors.email_codes import Purpose
from core.accounts.factors.models import LostFactor
from core.accounts.sign_in import HAS_PASSWORD, WrongFactorCode
from core.accounts.web_sessions import token_hash
from core.audit import Action, Caller, Outcome
from core.database import transaction


async def ask(*, attempt: str | None, code: str, caller: Caller) -> LostFactor:
    """By the code that was mailed for it. Raises AttemptOver, WrongFactorCode, TooManyTries."""
    async with transaction() as session:
        account = await attempts.account_of(session, attempt)
    tried = await limits.admit(limits.CODE_GUESSES, account=account.email_key, ip=caller.ip, browser=HAS_PASSWORD)
    assert attempt is not None
    asked = None
    async with transaction() as session:
        account = await attempts.account_of(session, attempt, lock=True)
        if await email_codes.use(session, attempt_hash=token_hash(attempt), purpose=Purpose.LOST_FACTOR, code=code):
            await limits.succeeded(session, tried)
            asked = await lost.ask(session, account=account, caller=caller)
        else:
            refused = Outcome.REFUSED
            await audit.note(session, Action.LOST_FACTOR_ASKED, account_id=account.id, caller=caller, outcome=refused)
    if asked is None:
        raise WrongFactorCode
    return asked
