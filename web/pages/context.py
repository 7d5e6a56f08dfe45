"""What each page shows, one function a page: the only file of the pages that calls core.

Each raises core.errors.NotFound for what is not there or not the account's.
"""

from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from quart import g, request

from core.accounts import web_sessions
from core.billing import bundles, purchases
from core.billing.refunds import overviews
from core.consultations import catalogue, queries
from core.credits import ledger
from core.database import transaction
from core.errors import InvalidInput, NotFound
from core.notices import inbox
from core.privacy import engagements
from core.privacy.consent_models import Purpose
from core.privacy.consents import WORDS, Choice
from core.privacy.engagements import Question
from core.privacy.policy_models import Deed
from web import accounts, billing, consents, credits  # noqa: A004  # the noun of the house
from web.inputs import last_id
from web.pages import shapes
from web.security import csrf_token, nonce
from web.shapes import (
    AccountFacts,
    BundleFacts,
    ConsultationFacts,
    ConsultationRow,
    Consultations,
    CreditFacts,
    PurchaseFacts,
    Purchases,
    ServiceFacts,
    SessionFacts,
    Sessions,
)


async def common() -> shapes.Common:
    account = g.get("account")
    has: CreditFacts | None = None
    unread = 0
    chosen: Choice | None = None
    if account is not None:
        async with transaction() as session:
            has = cast("CreditFacts", await credits.facts(session, account_id=account.id))
            unread = await inbox.unread(session, account_id=account.id)
            chosen = await consents.kept(session, account.id)
    g.consent = consents.standing(chosen)  # web/counting.py reads it
    path = request.full_path if request.query_string else request.path
    shown: AccountFacts | None = None
    if account is not None:
        shown = {"id": account.id, "name": account.name, "email": account.email, "role": account.role}
    facts = {
        "account": shown,
        "credits": has,
        "unread": unread,
        "path": path,
        "closing_at": account.closing_at if account is not None else None,
        "consent": g.consent,
        "asked": WORDS[Purpose.ANALYTICS],
        "policy": None if account is None else await _policy_question(account.id),
    }
    return cast("shapes.Common", {"nonce": nonce(), "csrf_token": csrf_token(), **facts})


async def _policy_question(account_id: UUID) -> Question | None:
    """The first change of our documents that is to be answered; that it was shown is written down."""
    now = datetime.now(UTC)
    first = next(iter(await engagements.questions(account_id=account_id, now=now)), None)
    if first is not None and not first.shown:
        version = first.version
        async with transaction() as session:
            await engagements.note(
                session,
                Deed.SHOWN,
                account_id=account_id,
                document=version.document,
                number=version.number,
                via="page",
                now=now,
            )
    return first


def _bundles() -> list[BundleFacts]:
    return cast("list[BundleFacts]", billing.listed_bundles())


async def home() -> shapes.HomeFacts:
    async with transaction() as session:
        services = [catalogue.describe(one) for one in await catalogue.listed(session)]
    return {"services": cast("list[ServiceFacts]", services), "bundles": _bundles()}


async def service(slug: str) -> shapes.ServicePageFacts:
    async with transaction() as session:
        described = catalogue.describe(await catalogue.offered(session, slug))
    return {"service": cast("ServiceFacts", described)}


NEWEST = 5  # purchases on the page of the bundles


async def buying(*, account_id: UUID, currency: str | None) -> shapes.BuyingFacts:
    """The bundles in a currency that there is; in another, in the default one."""
    sold = _bundles()
    async with transaction() as session:
        expiry = await ledger.next_expiry(session, account_id=account_id)
    bought = await purchases_page(account_id=account_id, after=None, limit=NEWEST)
    return {
        "bundles": sold,
        "currencies": list(sold[0]["prices"]),
        "currency": currency if currency in sold[0]["prices"] else bundles.DEFAULT,
        "expiry": expiry,
        "purchases": bought["purchases"],
        "older": bought["next"] is not None,
    }


async def purchase(purchase_id: UUID, *, account_id: UUID) -> shapes.PurchasePageFacts:
    """From our row alone; the page then asks the API, which asks Stripe."""
    async with transaction() as session:
        bought = await billing.shown(session, await purchases.get(session, purchase_id, account_id=account_id))
    return {"purchase": cast("PurchaseFacts", bought)}


async def purchases_page(*, account_id: UUID, after: str | None, limit: int = billing.PAGE) -> Purchases:
    async with transaction() as session:
        found = await purchases.page(session, account_id=account_id, after=_last_id(after), limit=limit)
        rows = [billing.described(one) for one in await overviews(session, found, now=datetime.now(UTC))]
    return {
        "purchases": cast("list[PurchaseFacts]", rows),
        "next": found[-1].id if len(found) == limit else None,
    }


def _last_id(after: str | None) -> UUID | None:
    """A choice that says nothing leads nowhere. Raises NotFound."""
    try:
        return last_id(after)
    except InvalidInput:
        raise NotFound from None


async def consultations(*, account_id: UUID, after: str | None) -> Consultations:
    async with transaction() as session:
        found = await queries.consultations(session, account_id=account_id, after=_last_id(after))
    return {
        "consultations": cast("list[ConsultationRow]", found),
        "next": found[-1]["id"] if len(found) == queries.PAGE else None,
    }


async def consultation(consultation_id: UUID, *, account_id: UUID) -> shapes.ConsultationPageFacts:
    async with transaction() as session:
        found = await queries.consultation(session, consultation_id, account_id=account_id)
    return {"consultation": cast("ConsultationFacts", found)}


async def account(*, account_id: UUID, session_id: UUID) -> Sessions:
    async with transaction() as session:
        rows = await web_sessions.list_sessions(session, account_id=account_id)
    return {"sessions": cast("list[SessionFacts]", [accounts.device(row, session_id) for row in rows])}
