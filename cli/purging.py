"""What an operator asks of the purge: its receipts, and legal holds."""

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from core.accounts.addresses import parse_address
from core.accounts.models import Account
from core.database import transaction
from core.errors import NotFound
from core.privacy import holds, purge_receipts
from core.privacy.purge_models import PurgeReceipt


def describe(commands: Any) -> None:
    """Add the words to the command line."""
    about_purge = commands.add_parser("purge", help="what went by itself").add_subparsers(dest="verb", required=True)
    receipts = about_purge.add_parser("receipts", help="list them, and see whether all are whole; exit 1 if not")
    receipts.add_argument("--days", type=int, default=1, help="of how many days to list; all are looked at")
    about_holds = commands.add_parser("holds", help="legal holds, while which nothing of an account goes by itself")
    verbs = about_holds.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the open ones")
    place = verbs.add_parser("place", help="stop the purge for an account")
    place.add_argument("email")
    place.add_argument("--reason", required=True, help="the matter; kept with the hold, not shown to the person")
    verbs.add_parser("lift", help="let it go on").add_argument("id", type=UUID)


async def answer(given: argparse.Namespace) -> int:
    """Do what was asked; the exit code. Raises NotFound."""
    now = datetime.now(UTC)
    if given.command == "purge":
        return await show_receipts(since=now - timedelta(days=given.days))
    async with transaction() as session:
        if given.verb == "place":
            named = Account.email_key == parse_address(given.email).key
            if (account_id := await session.scalar(select(Account.id).where(named))) is None:
                raise NotFound(email=given.email)
            print(await holds.place(session, account_id, reason=given.reason, by=None, now=now))
        elif given.verb == "lift":
            await holds.lift(session, given.id, by=None, now=now)
        else:
            for hold in await holds.listed(session):
                print(hold.id, hold.account_id, f"{hold.placed_at:%Y-%m-%d}", hold.reason, sep="\t")
    return 0


async def show_receipts(*, since: datetime) -> int:
    async with transaction() as session:
        query = select(PurgeReceipt).where(PurgeReceipt.ended_at >= since).order_by(PurgeReceipt.id)
        for one in await session.scalars(query):
            counts = {
                place["place"]: f"{place['days']} days" if place["days"] else place["count"] for place in one.gone
            }
            went = ", ".join(f"{place}: {count}" for place, count in counts.items() if count)
            print(one.id, f"{one.ended_at:%Y-%m-%d %H:%M}", one.data_class, went or "nothing was due", sep="\t")
        verdict = await purge_receipts.verify(session)
    for fault in verdict.faults:
        print("WRONG", fault, sep="\t")
    print(f"{verdict.count} receipts, {'all whole' if not verdict.faults else f'{len(verdict.faults)} faults'}")
    return 1 if verdict.faults else 0
