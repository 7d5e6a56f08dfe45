"""Receipts: one for each paid purchase, numbered without gaps whatever happens meanwhile."""

import asyncio
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from core.accounts.models import Account
from core.billing import receipts
from core.billing.models import Purchase, Receipt, ReceiptCounter
from core.billing.receipts import NotPaid
from core.database import transaction
from core.errors import NotFound
from core.mail.models import Delivery
from tests.core.billing.kit import make_buyer
from tests.house import ROOT, House


async def make_sold(*, paid: bool = True, buyer: UUID | None = None) -> UUID:
    """A purchase as it stands when its receipt is issued."""
    buyer = buyer or await make_buyer()
    async with transaction() as session:
        sold = Purchase(
            account_id=buyer,
            attempt_key=str(uuid4()),
            bundle="plus",
            credits_mc=1_650_000,
            amount_minor=1_500,
            currency="usd",
            livemode=False,
            state="paid" if paid else "open",
            paid_at=func.now() if paid else None,
        )
        session.add(sold)
        await session.flush()
        return sold.id


async def issue(purchase_id: UUID) -> int:
    async with transaction() as session:
        return await receipts.issue(session, purchase_id)


async def numbers() -> tuple[list[int], int]:
    """All numbers that were given, and the counter."""
    async with transaction() as session:
        given = list(await session.scalars(select(Receipt.number).order_by(Receipt.number)))
        return given, (await session.scalars(select(ReceiptCounter.last))).one()


async def test_a_receipt_is_issued_and_mailed_once() -> None:
    purchase_id = await make_sold()

    first, second = await issue(purchase_id), await issue(purchase_id)

    assert first == second
    async with transaction() as session:
        [receipt] = await session.scalars(select(Receipt).where(Receipt.purchase_id == purchase_id))
        [mail] = await session.scalars(select(Delivery).where(Delivery.key == f"receipt:{purchase_id}"))
    assert receipt.buyer_name == mail.facts["name"] == "Ada Byron"
    assert receipt.buyer_email == mail.recipient
    assert mail.facts["shown_number"] == f"CC-{first:06}"
    assert {name: mail.facts[name] for name in ("bundle_name", "credits", "amount", "purchase_id")} == {
        "bundle_name": "Plus",
        "credits": "1,650",
        "amount": "$15.00",
        "purchase_id": str(purchase_id),
    }


async def test_a_receipt_keeps_the_name_of_its_day() -> None:
    buyer = await make_buyer()
    purchase_id = await make_sold(buyer=buyer)
    await issue(purchase_id)

    async with transaction() as session:
        await session.execute(update(Account).where(Account.id == buyer).values(name="Ada Lovelace"))

    async with transaction() as session:
        [receipt] = await session.scalars(select(Receipt).where(Receipt.purchase_id == purchase_id))
    assert receipt.buyer_name == "Ada Byron"


async def test_what_was_not_paid_has_no_receipt() -> None:
    purchase_id = await make_sold(paid=False)

    with pytest.raises(NotPaid):
        await issue(purchase_id)
    with pytest.raises(NotFound):
        await issue(uuid4())

    given, last = await numbers()
    assert given == list(range(1, last + 1))


async def test_twenty_at_once_leave_no_gap() -> None:
    _, before = await numbers()
    sold = [await make_sold() for _ in range(20)]

    got = await asyncio.gather(*(issue(purchase_id) for purchase_id in sold + sold))

    given, last = await numbers()
    assert sorted(got[:20]) == list(range(before + 1, before + 21))
    assert got[20:] == got[:20]
    assert given == list(range(1, last + 1))


async def test_a_number_that_came_to_nothing_is_given_again() -> None:
    _, before = await numbers()
    lost, kept = await make_sold(), await make_sold()

    async with transaction() as session:
        assert await receipts.issue(session, lost) == before + 1
        await session.rollback()

    assert await issue(kept) == before + 1
    assert await issue(lost) == before + 2


KILLED = """
import asyncio, os, signal, sys
from uuid import UUID
from core.billing import receipts
from core.database import transaction

async def main():
    async with transaction() as session:
        print(await receipts.issue(session, UUID(sys.argv[1])), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_process_that_is_killed_while_it_issues_leaves_no_gap(house: House) -> None:
    _, before = await numbers()
    purchase_id = await make_sold()

    killed = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, str(purchase_id)], cwd=ROOT, env=house.environ,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert int(killed.stdout) == before + 1
    assert await issue(purchase_id) == before + 1
    given, last = await numbers()
    assert given == list(range(1, last + 1))
