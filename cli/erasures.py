"""Which accounts are to be erased: all, those that are due, those that are stuck."""

from datetime import UTC, datetime

from core.database import transaction
from core.privacy import erasure


async def show(which: str) -> None:
    """which: "list", "due", or "stuck", which is due for a day and not done."""
    now = datetime.now(UTC)
    due_before = {"list": None, "due": now, "stuck": now - erasure.OVERDUE}[which]
    async with transaction() as session:
        for one in await erasure.listed(session, due_before=due_before):
            due = f"{one.due_at:%Y-%m-%d %H:%M} UTC"
            print(one.id, one.account_id, one.state, f"due {due}", one.waits_for or "", sep="\t")
