"""What each person had to do with each version: told, shown, seen, accepted, declined. It is the proof, and the gate.

Who has not accepted a material version that is in force may read, export, be paid back and leave, but not buy or ask.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.database import transaction
from core.errors import ClofyError, Kind
from core.privacy import policies
from core.privacy.policies import Version
from core.privacy.policy_models import Deed, Document, PolicyEngagement, Weight

ONCE = frozenset({Deed.TOLD, Deed.SHOWN, Deed.SEEN})
AGREED_TO = (Document.PRIVACY, Document.TERMS)  # by who registers
PATTERN = r"^[a-z]+:[0-9]{1,6}( [a-z]+:[0-9]{1,6})*$"


class PolicyChanged(ClofyError):
    """Our terms or our privacy policy have changed since this page was opened. Please read them and try again."""

    kind = Kind.CONFLICT


class NotAgreed(ClofyError):
    """Our terms or our privacy policy have changed in a way that matters. Please say first whether you agree."""

    kind = Kind.FORBIDDEN
    sends_to = "/account/policies"


@dataclass(frozen=True)
class Question:
    """A material version that a person has not accepted.

    due: whether it is in force
    declined: whether they said no to it
    shown: whether a page of ours has named it to them before
    """

    version: Version
    due: bool
    declined: bool
    shown: bool


async def note(
    session: AsyncSession, deed: Deed, *, account_id: UUID, document: Document, number: int, via: str, now: datetime
) -> None:
    """Write it down; TOLD, SHOWN and SEEN only the first time."""
    row = insert(PolicyEngagement).values(
        account_id=account_id, document=document, number=number, what=deed, via=via, at=now
    )
    await session.execute(row.on_conflict_do_nothing() if deed in ONCE else row)


def written(agreed: Iterable[Version]) -> str:
    """Versions in the form that a registration carries, as "privacy:1 terms:2"."""
    return " ".join(f"{one.document}:{one.number}" for one in agreed)


async def agreed_by_registering(*, now: datetime) -> list[Version]:
    """What the page of the registration links to. Nothing where nothing is published."""
    return [
        one
        for document in AGREED_TO
        if (one := next((v for v in reversed(await policies.versions(document)) if v.is_in_force(now)), None))
    ]


async def check_shown(shown: str | None, *, now: datetime) -> str:
    """What somebody agrees to who registers now, as `written`.

    shown: as the page had it; None for programs, which are told in /openapi.json. Raises PolicyChanged.
    """
    agreed = written(await agreed_by_registering(now=now))
    if shown is not None and shown != agreed:
        raise PolicyChanged(shown=shown, now=agreed)
    return agreed


async def registered(session: AsyncSession, *, account_id: UUID, agreed: str | None, now: datetime) -> None:
    """Somebody has proven their address, whose registration agreed to these versions."""
    for one in (agreed or "").split():
        name, _, number = one.partition(":")
        document = Document(name)
        for deed in (Deed.SHOWN, Deed.ACCEPTED):
            await note(
                session,
                deed,
                account_id=account_id,
                document=document,
                number=int(number),
                via="registration",
                now=now,
            )


async def questions(*, account_id: UUID, now: datetime) -> list[Question]:
    """What this person has to say yes or no to, soonest first. It costs a query only while a change is under way."""
    published = [one for document in AGREED_TO for one in await policies.versions(document)]
    material = [one for one in published if one.weight is Weight.MATERIAL]
    newest = {one.document: one for one in material if one.is_in_force(now)}
    asked = [*newest.values(), *(one for one in material if not one.is_in_force(now))]
    if not asked:
        return []
    async with transaction() as session:
        mine = PolicyEngagement.account_id == account_id
        query = select(PolicyEngagement.document, PolicyEngagement.what, func.max(PolicyEngagement.number))
        rows = await session.execute(query.where(mine).group_by(PolicyEngagement.document, PolicyEngagement.what))
        last = {(document, what): number for document, what, number in rows}
    return [
        Question(
            one,
            due=one.is_in_force(now),
            declined=last.get((one.document, Deed.DECLINED), 0) >= one.number,
            shown=last.get((one.document, Deed.SHOWN), 0) >= one.number,
        )
        for one in sorted(asked, key=lambda one: one.effective_at)
        if last.get((one.document, Deed.ACCEPTED), 0) < one.number
    ]


async def check_agreed(*, account_id: UUID, now: datetime) -> None:
    """Raises NotAgreed for who has not accepted what is in force; called before a purchase and before a question."""
    if any(one.due for one in await questions(account_id=account_id, now=now)):
        raise NotAgreed(account=account_id)


async def answer(
    session: AsyncSession, *, account_id: UUID, document: Document, number: int, accepted: bool, now: datetime
) -> None:
    """Somebody says yes or no to a version. Raises core.errors.NotFound for one that there is not."""
    await policies.text_of_version(session, document, number)
    deed = Deed.ACCEPTED if accepted else Deed.DECLINED
    await note(session, deed, account_id=account_id, document=document, number=number, via="page", now=now)


async def of_account(session: AsyncSession, *, account_id: UUID) -> list[PolicyEngagement]:
    """All of it, newest first."""
    query = select(PolicyEngagement).where(PolicyEngagement.account_id == account_id)
    return list(await session.scalars(query.order_by(PolicyEngagement.id.desc())))
