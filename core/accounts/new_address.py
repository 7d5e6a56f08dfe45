"""Another e-mail address for an account: proven by a code to the new one, told to the old one, which may take it back.

Who changes it has proven within half an hour who they are (web/session.py, `fresh`). Whether the new address is taken
is told to nobody but who reads its mail.
"""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import orjson
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, limits
from core.accounts import codes, waiting
from core.accounts.addresses import Address, parse_address
from core.accounts.codes import CHANGE_EMAIL
from core.accounts.factors.changes import tell
from core.accounts.factors.models import SignInAttempt
from core.accounts.models import Account
from core.accounts.registration import WrongCode
from core.accounts.web_sessions import end_all_sessions, end_other_sessions, rotate_session
from core.audit import Action, AuditEntry, Caller, Outcome
from core.database import transaction
from core.errors import ClofyError, InvalidInput, Kind, NotFound
from core.mail.deliveries import send
from core.secrets import is_signed, sign
from core.telemetry import log

STOPPED_WITHIN = timedelta(days=7)  # as long as the link to the old address works

logger = log(__name__)


class AddressTaken(ClofyError):
    """This address has an account of its own."""

    kind = Kind.CONFLICT


async def ask(*, account_id: UUID, email: str, browser: str, caller: Caller) -> UUID:
    """Mail a code to the new address, and a word with a way to stop it to the old one; the ticket of the code's mail.

    Raises InvalidInput, TooManyTries.
    """
    address = parse_address(email)
    await limits.admit(limits.MAILS, account=None, ip=caller.ip)
    async with transaction() as session:
        account = await _locked(session, account_id)
        if account.email_key == address.key:
            raise InvalidInput(field="email", rule="is your address already")
        issued = await codes.issue_code(
            session,
            account_id=account_id,
            browser=browser,
            purpose=CHANGE_EMAIL,
            password_hash=account.password_hash,
            about=address.key,
        )
        if issued is None:
            logger.info("code_withheld", account_id=str(account_id))
            return waiting.ticket()
        await audit.note(session, Action.EMAIL_CHANGE_ASKED, account_id=account_id, caller=caller)
        await send(
            session,
            key=f"email_change_code:{issued.id}",
            account_id=None,  # it may be somebody else's address: it is none of the account's mails
            recipient=address.email,
            template="email_change_code",
            # Without a name: whoever asks may give any, and this mail goes to any address.
            facts={"code": issued.code, "link": issued.link, "email": address.email},
        )
        await _tell_old(session, account, address, key=f"email_change:{issued.id}:asked", is_done=False)
        return issued.id


async def _locked(session: AsyncSession, account_id: UUID) -> Account:
    return (await session.scalars(select(Account).where(Account.id == account_id).with_for_update())).one()


async def _tell_old(session: AsyncSession, account: Account, new: Address, *, key: str, is_done: bool) -> None:
    """Before the change: the account still has its old address."""
    proof = _link(account.id, account.email, at=datetime.now(UTC))
    await send(
        session,
        key=key,
        account_id=account.id,
        recipient=account.email,
        template="email_change",
        facts={"name": account.name, "new": new.email, "done": is_done, "link": proof},
    )


async def confirm(*, account_id: UUID, email: str, code: str, token: str, caller: Caller) -> str:
    """Take the new address by the code that it got; all other sessions end. The session's token, under a fresh id.

    Raises InvalidInput, WrongCode, AddressTaken, TooManyTries, SessionOver.
    """
    address = parse_address(email)
    async with transaction() as session:
        key = (await session.scalars(select(Account.email_key).where(Account.id == account_id))).one()
    of_account = None if codes.is_long(code) else key
    tried = await limits.admit(limits.CODE_GUESSES, account=of_account, ip=caller.ip, browser=f"signed-in:{account_id}")
    rotated = None
    async with transaction() as session:
        account = await _locked(session, account_id)
        if await codes.use_bound_code(
            session,
            account_id=account_id,
            purpose=CHANGE_EMAIL,
            password_hash=account.password_hash,
            code=code,
            about=address.key,
        ):
            await limits.succeeded(session, tried)
            await _tell_old(session, account, address, key=f"email_change:{uuid4()}:done", is_done=True)
            await _set(session, account, address)
            rotated = await rotate_session(session, token=token)
            await end_other_sessions(session, account_id=account_id, token=rotated)
            await audit.note(session, Action.EMAIL_CHANGED, account_id=account_id, caller=caller)
            await tell(session, account_id=account_id, what="Your address was changed to this one.", caller=caller)
        else:
            await audit.note(
                session, Action.EMAIL_CHANGED, account_id=account_id, caller=caller, outcome=Outcome.REFUSED
            )
    if rotated is None:
        raise WrongCode
    return rotated


async def _set(session: AsyncSession, account: Account, address: Address) -> None:
    """Codes and half-done sign-ins from before are void. Raises AddressTaken.

    A registration of the address that nobody proved gives way: who changes to it has proven it.
    """
    unproven = (Account.email_key == address.key, Account.email_verified_at.is_(None), Account.id != account.id)
    await session.execute(delete(Account).where(*unproven))
    account.email, account.email_key = address.email, address.key
    try:
        await session.flush()
    except IntegrityError:
        raise AddressTaken from None
    await codes.forget(session, account_id=account.id)
    await session.execute(delete(SignInAttempt).where(SignInAttempt.account_id == account.id))


def _link(account_id: UUID, email: str, *, at: datetime) -> str:
    """Which address gets an account back by it, and when it was mailed."""
    facts = orjson.dumps([str(account_id), email, at.isoformat()])
    return base64.urlsafe_b64encode(sign(_signed(facts)) + facts).rstrip(b"=").decode()


def _signed(facts: bytes) -> bytes:
    return b"email-change:" + facts


def _read(link: str) -> tuple[UUID, Address, datetime]:
    """Raises NotFound for what we did not sign."""
    try:
        content = base64.b64decode(link + "=" * (-len(link) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise NotFound from None
    signature, facts = content[:32], content[32:]
    if not is_signed(_signed(facts), signature):
        raise NotFound
    account_id, email, at = orjson.loads(facts)
    return UUID(account_id), Address(email=email, key=email.lower()), datetime.fromisoformat(at)


async def stop(*, link: str, caller: Caller) -> None:
    """By the link that the old address got: it has the account again, and everybody is signed out.

    Of several links the oldest wins: who took an account over, and changed its address twice, cannot take it back from
    its owner. Raises NotFound, also for a link that is used up or a week old; AddressTaken.
    """
    account_id, address, at = _read(link)
    if datetime.now(UTC) - at > STOPPED_WITHIN:
        raise NotFound
    async with transaction() as session:
        account = await session.scalar(
            select(Account).where(Account.id == account_id, Account.disabled_at.is_(None)).with_for_update()
        )
        stopped = (AuditEntry.account_id == account_id, AuditEntry.action == Action.EMAIL_CHANGE_STOPPED)
        earlier = select(AuditEntry.id).where(*stopped, AuditEntry.facts["link_of"].astext <= at.isoformat())
        if account is None or await session.scalar(earlier.limit(1)) is not None:
            raise NotFound
        await _set(session, account, address)
        await end_all_sessions(session, account_id=account_id)
        facts = {"link_of": at.isoformat()}
        await audit.note(session, Action.EMAIL_CHANGE_STOPPED, account_id=account_id, caller=caller, facts=facts)
        what = (
            "The change of your address was stopped: your account has this one, and is signed out everywhere. "
            "Somebody was signed in to it. Set a new password now, and look at your authenticator app and passkeys."
        )
        await tell(session, account_id=account_id, what=what, caller=caller)
