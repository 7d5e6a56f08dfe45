"""What a request sets going, and what answers it: a job, a switch that is turned at once, or an admin.

| kind | what happens |
|---|---|
| access, portability | a job makes a copy (exports.py), and closes it |
| erasure | after its days of grace a job erases the account (erasure.py), and closes it |
| restriction | at once (restriction.py), and so it is answered |
| objection | mails on our own account and counting off at once; an admin decides on the rest |
| opt_out | counting off at once, and so it is answered: nothing is sold or shared |
| correction | an admin; name and company people change themselves |
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.audit import NOBODY, Action, Caller
from core.errors import ClofyError, Kind
from core.mail import consents as mail_consents
from core.mail.models import Topic
from core.privacy import consents, erasure, exports, requests, restriction
from core.privacy.consent_models import Via as ConsentVia
from core.privacy.request_models import PrivacyRequest, RequestKind, State, Via
from core.privacy.requests_by_mail import NOT_THEM

CONFIRMED = "signed in anew and confirmed it"
RESTRICTED = (
    "From now on we keep your data and do nothing else with it: no questions are answered, nothing is deleted, and you "
    "get no mails but about what you do yourself. You can end this at any time on the page of your data."
)

OPTED_OUT = (
    "We neither sell your data nor share it for advertising, so there was nothing to end. Your no is written down, and "
    "the pages that you open are not counted either."
)


class NotWaiting(ClofyError):
    """This request does not wait for you to confirm it."""

    kind = Kind.CONFLICT


async def ask(
    session: AsyncSession, *, account_id: UUID, kind: RequestKind, words: str = "", now: datetime, caller: Caller
) -> tuple[PrivacyRequest, bool]:
    """Take a request of somebody who is signed in and begin with it. Returns whether it is a new one.

    For an erasure the caller has made sure that they signed in a moment ago.
    """
    before = await requests.standing(session, account_id=account_id, kind=kind)
    row = await requests.file(session, account_id=account_id, kind=kind, via=Via.ACCOUNT, words=words, now=now)
    await audit.note(session, Action.REQUEST_FILED, account_id=account_id, caller=caller, about=f"request:{row.id}")
    await _begin(session, row, now=now, caller=caller)
    return row, before is None


async def confirm(
    session: AsyncSession, request_id: UUID, *, account_id: UUID, now: datetime, caller: Caller
) -> PrivacyRequest:
    """The account's owner, signed in anew, says that a mail was theirs. Raises NotFound, NotWaiting."""
    row = await _waiting(session, request_id, account_id=account_id)
    await requests.identified(session, row, how=CONFIRMED, now=now)
    await audit.note(session, Action.REQUEST_CONFIRMED, account_id=account_id, caller=caller, about=f"request:{row.id}")
    await _begin(session, row, now=now, caller=caller)
    return row


async def deny(session: AsyncSession, request_id: UUID, *, account_id: UUID, now: datetime, caller: Caller) -> None:
    """The account's owner says that it was somebody else, who gets nothing. Raises NotFound, NotWaiting."""
    row = await _waiting(session, request_id, account_id=account_id)
    await requests.close(session, row.id, outcome=State.REFUSED, basis=NOT_THEM, now=now)
    await audit.note(session, Action.REQUEST_DENIED, account_id=account_id, caller=caller, about=f"request:{row.id}")


async def _waiting(session: AsyncSession, request_id: UUID, *, account_id: UUID) -> PrivacyRequest:
    await requests.find(session, request_id, account_id=account_id)
    row = await requests.locked(session, request_id)
    if row.state != State.WAITING_FOR_IDENTITY:
        raise NotWaiting(request=request_id)
    return row


async def withdraw(session: AsyncSession, request_id: UUID, *, account_id: UUID, now: datetime, caller: Caller) -> None:
    """Take one's own request back; what it has done already stays done, but an erasure is undone.

    Raises NotFound, RequestClosed; TooLateToUndo for an erasure that has begun.
    """
    await requests.find(session, request_id, account_id=account_id)
    row = await requests.unfinished(session, request_id)
    if row.kind == RequestKind.ERASURE and await erasure.standing(session, account_id) is not None:
        await erasure.undo(session, account_id=account_id, now=now, caller=caller)
    await requests.close(session, row.id, outcome=State.WITHDRAWN, now=now)
    await audit.note(session, Action.REQUEST_WITHDRAWN, account_id=account_id, caller=caller, about=f"request:{row.id}")


async def _begin(session: AsyncSession, row: PrivacyRequest, *, now: datetime, caller: Caller = NOBODY) -> None:
    """Set going what is not going yet."""
    assert row.account_id is not None
    if row.state != State.OPEN:
        return
    match RequestKind(row.kind):
        case RequestKind.ACCESS | RequestKind.PORTABILITY:
            await exports.ask(session, row.account_id, row.id, caller=caller)
            await requests.working(session, row, words="A copy of the data is being made.", now=now)
        case RequestKind.ERASURE:
            if await restriction.standing(session, row.account_id):  # its hold would keep the erasure waiting
                await restriction.end(session, account_id=row.account_id, now=now, caller=caller)
            begun = await erasure.begin(session, account_id=row.account_id, request_id=row.id, now=now, caller=caller)
            words = f"The account is erased on {erasure.day(begun.due_at)}, unless that is undone before."
            await requests.working(session, row, words=words, now=now)
        case RequestKind.RESTRICTION:
            await restriction.begin(session, account_id=row.account_id, now=now, caller=caller)
            await requests.close(session, row.id, outcome=State.ANSWERED, words=RESTRICTED, now=now)
        case RequestKind.OPT_OUT:
            await _count_no_more(session, row.account_id, now=now)
            await requests.close(session, row.id, outcome=State.ANSWERED, words=OPTED_OUT, now=now)
        case RequestKind.OBJECTION:
            await _count_no_more(session, row.account_id, now=now)
            for topic in Topic:
                await mail_consents.choose(
                    session, account_id=row.account_id, topic=topic, wanted=False, via="objection"
                )
        case _:
            pass  # an admin's


async def _count_no_more(session: AsyncSession, account_id: UUID, *, now: datetime) -> None:
    await consents.choose(session, account_id=account_id, wanted=False, via=ConsentVia.ACCOUNT, gpc=False, now=now)
