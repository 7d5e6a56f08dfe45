"""Requests as rows: one at a time of each kind, each step kept, told to whom they are of and to nobody else."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.mail.models import Delivery
from core.privacy import requests
from core.privacy.request_models import Did, PrivacyRequest, RequestKind, State, Via
from core.privacy.requests import RequestClosed, TooLateToExtend

JANUARY = datetime(2028, 1, 31, 9, tzinfo=UTC)


async def make_request(
    session: AsyncSession, account_id: UUID, kind: RequestKind = RequestKind.CORRECTION, *, now: datetime = JANUARY
) -> PrivacyRequest:
    return await requests.file(session, account_id=account_id, kind=kind, via=Via.ACCOUNT, now=now)


async def did(session: AsyncSession, row: PrivacyRequest) -> list[str]:
    return [one.did for one in await requests.steps(session, row.id)]


async def mailed(session: AsyncSession, account_id: UUID) -> list[Delivery]:
    query = select(Delivery).where(Delivery.account_id == account_id).order_by(Delivery.id)
    return list(await session.scalars(query))


async def test_a_request_has_its_dates_and_is_acknowledged_as_it_is_filed(
    session: AsyncSession, account_id: UUID
) -> None:
    row = await make_request(session, account_id)

    assert (row.state, row.sources, row.identity) == (State.OPEN, ["account"], requests.SIGNED_IN)
    assert (row.acknowledge_by, row.gdpr_due, row.ccpa_due) == (date(2028, 2, 14), date(2028, 2, 29), date(2028, 3, 16))
    assert row.acknowledged_at == JANUARY
    assert await did(session, row) == [Did.FILED, Did.ACKNOWLEDGED]
    (mail,) = await mailed(session, account_id)
    assert "29 February 2028" in mail.facts["text"]


async def test_asked_again_while_unfinished_it_is_the_same_one(session: AsyncSession, account_id: UUID) -> None:
    first = await make_request(session, account_id)
    again = await make_request(session, account_id, now=JANUARY + timedelta(days=3))
    other = await make_request(session, account_id, RequestKind.ACCESS)

    assert again.id == first.id != other.id
    assert again.received_at == JANUARY
    assert await did(session, first) == [Did.FILED, Did.ACKNOWLEDGED, Did.ASKED_AGAIN]
    assert len(await mailed(session, account_id)) == 2


async def test_after_its_end_the_next_one_is_new(session: AsyncSession, account_id: UUID) -> None:
    first = await make_request(session, account_id)
    assert await requests.close(session, first.id, outcome=State.ANSWERED, words="Done.", now=JANUARY)

    second = await make_request(session, account_id)

    assert [one.id for one in await requests.of_account(session, account_id=account_id)] == [second.id, first.id]


async def test_an_end_is_told_once_and_stays(session: AsyncSession, account_id: UUID) -> None:
    row = await make_request(session, account_id)

    ended = {"outcome": State.REFUSED, "words": "We keep the books.", "basis": "GDPR, article 17(3)(b)"}
    assert await requests.close(session, row.id, **ended, now=JANUARY)  # type: ignore[arg-type]
    assert not await requests.close(session, row.id, outcome=State.ANSWERED, words="Or not.", now=JANUARY)

    assert (row.state, row.basis) == (State.REFUSED, "GDPR, article 17(3)(b)")
    told = (await mailed(session, account_id))[-1].facts
    assert told["title"] == "Your request was refused"
    assert told["text"] == "We keep the books.\n\nGDPR, article 17(3)(b)"
    assert (await requests.steps(session, row.id))[-1].basis == "GDPR, article 17(3)(b)"
    assert len(await mailed(session, account_id)) == 2


async def test_an_extension_is_told_and_counts_from_the_receipt(session: AsyncSession, account_id: UUID) -> None:
    row = await make_request(session, account_id)

    late = datetime(2028, 2, 29, 23, 59, tzinfo=UTC)
    await requests.extend(session, row.id, reason="There is much of it.", now=late, by=None)

    assert (row.gdpr_due, row.ccpa_due) == (date(2028, 4, 30), date(2028, 4, 30))
    assert "30 April 2028" in (await mailed(session, account_id))[-1].facts["text"]
    with pytest.raises(TooLateToExtend):
        await requests.extend(session, row.id, reason="And more.", now=late, by=None)


async def test_after_the_first_month_it_is_too_late_to_extend(session: AsyncSession, account_id: UUID) -> None:
    row = await make_request(session, account_id)

    with pytest.raises(TooLateToExtend):
        await requests.extend(session, row.id, reason="Oh.", now=datetime(2028, 3, 1, tzinfo=UTC), by=None)

    await requests.close(session, row.id, outcome=State.WITHDRAWN, now=JANUARY)
    with pytest.raises(RequestClosed):
        await requests.extend(session, row.id, reason="Oh.", now=JANUARY, by=None)


@pytest.mark.parametrize(
    "change",
    [
        "update privacy_request_steps set words = 'other' where request_id = :id",
        "delete from privacy_request_steps where request_id = :id",
        "truncate privacy_request_steps",
    ],
)
async def test_steps_stay_as_they_were_written(session: AsyncSession, account_id: UUID, change: str) -> None:
    row = await make_request(session, account_id)

    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text(change), {"id": row.id} if ":id" in change else {})


async def test_steps_go_with_their_request(session: AsyncSession, account_id: UUID) -> None:
    row = await make_request(session, account_id)

    await session.execute(text("delete from privacy_requests where id = :id"), {"id": row.id})

    assert await requests.steps(session, row.id) == []


async def test_what_another_has_asked_is_not_there(session: AsyncSession, account_id: UUID) -> None:
    row = await make_request(session, account_id)

    with pytest.raises(NotFound):
        await requests.find(session, row.id, account_id=uuid4())
