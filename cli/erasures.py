"""Which accounts are to be erased: all, those that are due, those that are stuck; and a child's, at once."""

from datetime import UTC, datetime

from sqlalchemy import select

from core.accounts.addresses import parse_address
from core.accounts.models import Account
from core.database import transaction
from core.errors import NotFound
from core.privacy import erasure


async def show(which: str) -> None:
    """which: "list", "due", or "stuck", which is due for a day and not done."""
    now = datetime.now(UTC)
    due_before = {"list": None, "due": now, "stuck": now - erasure.OVERDUE}[which]
    async with transaction() as session:
        for one in await erasure.listed(session, due_before=due_before):
            due = f"{one.due_at:%Y-%m-%d %H:%M} UTC"
            print(one.id, one.account_id, one.state, f"due {due}", one.waits_for or "", sep="\t")


async def begin_for_child(email: str) -> None:
    """Erase the account of somebody under thirteen, without the days of grace; a worker does it. Raises NotFound."""
    async with transaction() as session:
        account_id = await session.scalar(select(Account.id).where(Account.email_key == parse_address(email).key))
        if account_id is None:
            raise NotFound(email=email)
        made = await erasure.begin(session, account_id=account_id, now=datetime.now(UTC), child=True)
        print(made.id, "is erased within the hour", sep="\t")
