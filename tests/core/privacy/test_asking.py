"""What requests set going; those that came by mail, and somebody who pretends; restrictions and their end."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.accounts.models import Account
from core.audit import NOBODY, AuditEntry
from core.consultations import conversation
from core.consultations.conversation import DataRestricted
from core.errors import InvalidInput, NotFound
from core.mail import consents
from core.mail.models import Delivery, Topic
from core.privacy import asking, erasure, exports, holds, requests, requests_by_mail, restriction
from core.privacy import consents as purposes
from core.privacy.asking import NotWaiting
from core.privacy.consent_models import Via
from core.privacy.exports_content import Counts
from core.privacy.request_models import Did, PrivacyRequest, RequestKind, State
from core.privacy.requests_by_mail import NothingToAsk
from core.privacy.restriction import NotRestricted
from tests.makers import make_account, make_consultation

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADMIN = uuid4()


async def ask(session: AsyncSession, account_id: UUID, kind: RequestKind) -> PrivacyRequest:
    row, _ = await asking.ask(session, account_id=account_id, kind=kind, now=NOW, caller=NOBODY)
    return row


async def by_mail(
    session: AsyncSession,
    sender: str,
    *,
    about: str | None = None,
    kind: RequestKind = RequestKind.CORRECTION,
    received_at: datetime = NOW,
) -> PrivacyRequest:
    return await requests_by_mail.enter(
        session, sender=sender, about=about, kind=kind, words="Please.", received_at=received_at, now=NOW, by=ADMIN
    )


async def address_of(session: AsyncSession, account_id: UUID) -> str:
    return (await profile.get_account(session, account_id=account_id)).email


async def mails_to(session: AsyncSession, address: str) -> list[str]:
    query = select(Delivery.template).where(Delivery.recipient == address).order_by(Delivery.id)
    return list(await session.scalars(query))


async def test_a_restriction_is_at_once_and_answered(session: AsyncSession, account_id: UUID) -> None:
    await consents.choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")
    consultation = await make_consultation(session, account_id)

    row = await ask(session, account_id, RequestKind.RESTRICTION)

    assert row.state == State.ANSWERED
    assert await holds.held(session, account_id)
    assert await profile.reachable(session, [account_id]) == []
    with pytest.raises(DataRestricted):
        await conversation.ask(session, account_id=account_id, consultation_id=consultation, question="Why?")


async def test_its_owner_ends_a_restriction_at_any_time(session: AsyncSession, account_id: UUID) -> None:
    await ask(session, account_id, RequestKind.RESTRICTION)
    other_matter = await holds.place(session, account_id, reason="a court", by=ADMIN, now=NOW)

    await restriction.end(session, account_id=account_id, now=NOW)

    assert [one.id for one in await holds.listed(session, account_id)] == [other_matter]
    assert [one.id for one in await profile.reachable(session, [account_id])] == [account_id]
    with pytest.raises(NotRestricted):
        await restriction.end(session, account_id=account_id, now=NOW)


async def test_an_admin_ends_a_restriction_only_after_saying_so(session: AsyncSession, account_id: UUID) -> None:
    await ask(session, account_id, RequestKind.RESTRICTION)

    ends = await restriction.announce_end(session, account_id=account_id, reason="It is settled.", now=NOW, by=ADMIN)
    again = await restriction.announce_end(
        session, account_id=account_id, reason="It is.", now=NOW + timedelta(days=1), by=ADMIN
    )

    assert ends == again == NOW + timedelta(days=7)
    assert await restriction.end_due(session, now=ends - timedelta(seconds=1)) == 0
    assert await holds.held(session, account_id)
    assert await restriction.end_due(session, now=ends) == 1
    assert not await holds.held(session, account_id)
    told = await mails_to(session, await address_of(session, account_id))
    assert told == ["privacy_request"] * 3  # received, answered, and that it ends: once


async def test_asked_for_again_the_announced_end_is_taken_back(session: AsyncSession, account_id: UUID) -> None:
    await ask(session, account_id, RequestKind.RESTRICTION)
    await restriction.announce_end(session, account_id=account_id, reason="It is settled.", now=NOW, by=ADMIN)

    await ask(session, account_id, RequestKind.RESTRICTION)

    assert await restriction.end_due(session, now=NOW + timedelta(days=30)) == 0
    assert len(await holds.listed(session, account_id)) == 1


async def test_an_objection_ends_mails_on_our_own_account_and_waits_for_an_admin(
    session: AsyncSession, account_id: UUID
) -> None:
    await consents.choose(session, account_id=account_id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")

    row = await ask(session, account_id, RequestKind.OBJECTION)

    assert row.state == State.OPEN
    assert await consents.choices(session, account_id=account_id) == dict.fromkeys(Topic, False)


@pytest.mark.parametrize("kind", [RequestKind.OPT_OUT, RequestKind.OBJECTION])
async def test_who_opts_out_or_objects_is_not_counted_any_more(
    session: AsyncSession, account_id: UUID, kind: RequestKind
) -> None:
    await purposes.choose(session, account_id=account_id, wanted=True, via=Via.ACCOUNT, gpc=False, now=NOW)

    row = await ask(session, account_id, kind)

    latest = await purposes.choice(session, account_id=account_id)
    assert latest is not None
    assert not latest.wanted
    assert row.state == (State.ANSWERED if kind == RequestKind.OPT_OUT else State.OPEN)


async def test_a_mail_waits_until_the_accounts_owner_confirms_it(session: AsyncSession, account_id: UUID) -> None:
    address = await address_of(session, account_id)

    row = await by_mail(session, address, kind=RequestKind.RESTRICTION)

    assert (row.state, row.sources, row.identity) == (State.WAITING_FOR_IDENTITY, ["mail"], "")
    assert not await holds.held(session, account_id)
    assert await mails_to(session, address) == ["privacy_identity"]
    confirmed = await asking.confirm(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)
    assert (confirmed.state, confirmed.identity) == (State.ANSWERED, asking.CONFIRMED)
    assert await holds.held(session, account_id)
    with pytest.raises(NotWaiting):
        await asking.confirm(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)


async def test_its_clocks_run_from_when_the_mail_came(session: AsyncSession, account_id: UUID) -> None:
    row = await by_mail(session, await address_of(session, account_id), received_at=NOW - timedelta(days=5))

    assert (row.gdpr_due, row.acknowledged_at) == (datetime(2026, 12, 19, tzinfo=UTC).date(), NOW)
    with pytest.raises(InvalidInput):
        await by_mail(session, "ada@example.com", received_at=NOW + timedelta(seconds=1))


async def test_who_pretends_is_told_the_same_whether_or_not_there_is_an_account(
    session: AsyncSession, account_id: UUID
) -> None:
    address, eve, mallory = await address_of(session, account_id), "eve@example.com", "mallory@example.com"

    of_somebody = await by_mail(session, eve, about=address)
    of_nobody = await by_mail(session, mallory, about=f"{uuid4()}@people.example")

    query = select(Delivery).where(Delivery.recipient.in_([eve, mallory])).order_by(Delivery.id)
    first, second = await session.scalars(query)
    assert (first.template, first.facts) == (second.template, second.facts) == ("privacy_by_mail", first.facts)
    assert (first.account_id, second.account_id) == (None, None)
    assert of_somebody.account_id == account_id
    assert of_nobody.account_id is None


async def test_who_pretends_gets_nothing_once_the_owner_says_so(session: AsyncSession, account_id: UUID) -> None:
    row = await by_mail(session, "eve@example.com", about=await address_of(session, account_id))

    await asking.deny(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)

    assert (row.state, row.basis) == (State.REFUSED, requests_by_mail.NOT_THEM)
    assert await mails_to(session, "eve@example.com") == ["privacy_by_mail"]


async def test_only_the_owner_confirms(session: AsyncSession, account_id: UUID) -> None:
    row = await by_mail(session, await address_of(session, account_id))
    eve = await make_account(session)

    for act in (asking.confirm, asking.deny):
        with pytest.raises(NotFound):
            await act(session, row.id, account_id=eve, now=NOW, caller=NOBODY)
    with pytest.raises(NotFound):
        await asking.withdraw(session, row.id, account_id=eve, now=NOW, caller=NOBODY)


async def test_asked_by_page_and_by_mail_it_is_one_request_with_two_sources(
    session: AsyncSession, account_id: UUID
) -> None:
    row = await ask(session, account_id, RequestKind.CORRECTION)

    again = await by_mail(session, await address_of(session, account_id), received_at=NOW - timedelta(days=2))

    assert (again.id, again.state, again.sources) == (row.id, State.OPEN, ["account", "mail"])
    assert again.received_at == NOW - timedelta(days=2)  # the stricter clock
    assert await mails_to(session, await address_of(session, account_id)) == ["privacy_request"]


async def test_asked_by_mail_and_then_by_page_it_needs_no_further_proof(
    session: AsyncSession, account_id: UUID
) -> None:
    row = await by_mail(session, await address_of(session, account_id), kind=RequestKind.RESTRICTION)

    again = await ask(session, account_id, RequestKind.RESTRICTION)

    assert (again.id, again.state, again.sources) == (row.id, State.ANSWERED, ["account", "mail"])
    did = [one.did for one in await requests.steps(session, row.id)]
    assert did[-3:] == [Did.ASKED_AGAIN, Did.IDENTIFIED, Did.ANSWERED]


async def test_the_owner_can_be_asked_once_more_until_they_answered(session: AsyncSession, account_id: UUID) -> None:
    address = await address_of(session, account_id)
    row = await by_mail(session, address)

    await requests_by_mail.ask_identity(session, row, now=NOW, by=ADMIN)
    assert await mails_to(session, address) == ["privacy_identity"] * 2
    await asking.confirm(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)

    with pytest.raises(NothingToAsk):
        await requests_by_mail.ask_identity(session, row, now=NOW, by=ADMIN)


async def test_an_account_that_nobody_has_proven_is_not_written_to(session: AsyncSession, account_id: UUID) -> None:
    account = await session.get(Account, account_id)
    assert account is not None
    account.email_verified_at = None
    await session.flush()

    row = await by_mail(session, account.email)

    assert row.account_id is None
    assert await mails_to(session, account.email) == ["privacy_by_mail"]


async def test_a_copy_that_is_ready_answers_both_who_asked_to_see_and_to_take_along(
    session: AsyncSession, account_id: UUID
) -> None:
    access = await ask(session, account_id, RequestKind.ACCESS)
    portability = await ask(session, account_id, RequestKind.PORTABILITY)
    assert (access.state, portability.state) == (State.WORKING, State.WORKING)

    export = await exports.latest(session, account_id)
    assert export is not None
    assert await exports.ready(session, export.id, blob="a.zip", counts=Counts(), now=NOW)

    assert (access.state, portability.state) == (State.ANSWERED, State.ANSWERED)
    told = await mails_to(session, await address_of(session, account_id))
    assert told == ["privacy_request", "privacy_request", "export_ready"]


async def test_a_copy_that_could_not_be_made_is_an_admins(session: AsyncSession, account_id: UUID) -> None:
    row = await ask(session, account_id, RequestKind.ACCESS)

    await requests.export_ended(session, account_id=account_id, is_ready=False, now=NOW)

    assert row.state == State.OPEN
    assert (await requests.steps(session, row.id))[-1].words == "The copy could not be made."


async def test_an_erasure_has_its_days_of_grace_and_is_undone_by_taking_the_request_back(
    session: AsyncSession, account_id: UUID
) -> None:
    await ask(session, account_id, RequestKind.RESTRICTION)
    row = await ask(session, account_id, RequestKind.ERASURE)
    assert not await holds.held(session, account_id)  # which would keep it waiting
    again = await ask(session, account_id, RequestKind.ERASURE)
    standing = await erasure.standing(session, account_id)
    assert standing is not None
    assert (again.id, row.state, standing.request_id) == (row.id, State.WORKING, row.id)

    await asking.withdraw(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)

    assert row.state == State.WITHDRAWN
    assert await erasure.standing(session, account_id) is None


async def test_each_is_in_the_audit_log(session: AsyncSession, account_id: UUID) -> None:
    row = await ask(session, account_id, RequestKind.CORRECTION)
    await asking.withdraw(session, row.id, account_id=account_id, now=NOW, caller=NOBODY)

    query = select(AuditEntry.action).where(AuditEntry.account_id == account_id).order_by(AuditEntry.id)
    assert list(await session.scalars(query)) == ["request_filed", "request_withdrawn"]
    assert row.state == State.WITHDRAWN
