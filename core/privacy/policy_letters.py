"""Telling all accounts of a new version: of a material one by mail and notice, of a minor one by notice.

A beat calls `tell` each minute. It goes down the accounts in batches; each batch and how far it came are one commit, so
that it may be stopped anywhere, run twice and on two machines: each account is told once.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.mail import deliveries
from core.notices import inbox
from core.privacy import engagements
from core.privacy.policy_models import Deed, Document, PolicyVersion, Weight

BATCH = 50
BATCHES_A_RUN = 10  # so that codes and receipts are never behind more than so many mails


async def tell(session: AsyncSession, *, now: datetime) -> int | None:
    """Tell the next accounts of the oldest version that not all know of; how many. None: all know of all."""
    waiting = select(PolicyVersion).where(PolicyVersion.all_told_at.is_(None))
    in_turn = waiting.order_by(PolicyVersion.published_at, PolicyVersion.document, PolicyVersion.number).limit(1)
    version = await session.scalar(in_turn.with_for_update())
    if version is None:
        return None
    readers = await profile.next_reachable(session, after=version.reached, limit=BATCH)
    for reader in readers:
        facts = _facts(version)
        key = f"policy:{version.document}:{version.number}:{reader.id}"
        if version.weight == Weight.MATERIAL:
            await deliveries.send(
                session,
                key=key,
                account_id=reader.id,
                recipient=reader.email,
                template="policy_change",
                facts={"name": reader.name, **facts},
            )
        else:
            await inbox.tell(session, key=key, account_id=reader.id, kind="policy_change", facts=facts)
        await engagements.note(
            session,
            Deed.TOLD,
            account_id=reader.id,
            document=Document(version.document),
            number=version.number,
            via="mail" if version.weight == Weight.MATERIAL else "notice",
            now=now,
        )
    version.told += len(readers)
    if len(readers) == BATCH:
        version.reached = readers[-1].id
    else:
        version.all_told_at = now
    await session.flush()
    return len(readers)


def _facts(version: PolicyVersion) -> dict[str, str]:
    effective = version.effective_at
    return {
        "document": Document(version.document).heading,
        "summary": version.summary,
        "effective": f"{effective.day} {effective:%B %Y}",
        "weight": version.weight,
        "path": f"/{version.document}/versions/{version.number}",
    }
