"""Publishing our documents: what a deployment's code says of them becomes their next version."""

from datetime import UTC, date, datetime, time

from core.database import transaction
from core.privacy import policies
from core.privacy.policy_models import Document, Weight


async def show() -> None:
    """All versions, and which documents this code would change."""
    async with transaction() as session:
        changed = await policies.unpublished(session)
        soonest = await policies.earliest(session, now=datetime.now(UTC))
    for one in await policies.versions():
        print(one.document, one.number, one.weight, f"{one.effective_at:%Y-%m-%d}", one.summary, sep="\t")
    for document in changed:
        print(document, "is to be published", sep="\t")
    print(f"a material change may take effect on {soonest:%Y-%m-%d} at the earliest, at midnight UTC the day after")


async def publish(*, document: str | None, weight: Weight, effective: date, summary: str) -> None:
    """Publish one document, or each that is not as it was last published. Raises NothingChanged, TooSoon."""
    now = datetime.now(UTC)
    start_of_day = datetime.combine(effective, time(), UTC)
    effective_at = now if weight is Weight.MINOR and effective == now.date() else start_of_day
    async with transaction() as session:
        chosen = [Document(document)] if document else await policies.unpublished(session)
        for one in chosen:
            made = await policies.publish(
                session, one, weight=weight, summary=summary, effective_at=effective_at, now=now
            )
            print(f"{one} version {made.number}, from {made.effective_at:%Y-%m-%d}; accounts are told from now on")
    if not chosen:
        print("nothing has changed")
