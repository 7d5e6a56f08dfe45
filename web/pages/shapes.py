"""What each page is given, beside what the API answers (web/shapes.py). `context.py` fills it."""

from datetime import datetime
from typing import TypedDict

from core.credits.ledger import Expiry
from core.privacy.consents import Standing
from core.privacy.engagements import Question
from web.shapes import AccountFacts, BundleFacts, ConsultationFacts, CreditFacts, PurchaseFacts, ServiceFacts


class Common(TypedDict):
    """On every page. `account` and `credits` are None for a visitor who is not signed in."""

    nonce: str
    csrf_token: str
    account: AccountFacts | None
    credits: CreditFacts | None
    unread: int  # notices
    closing_at: datetime | None  # when the account is to be erased, if it is
    path: str  # of this request, with its query: where to come back to after signing in
    consent: Standing
    asked: str  # the words of the question about analytics
    policy: Question | None  # a change of our documents that is to be answered


class HomeFacts(TypedDict):
    services: list[ServiceFacts]
    bundles: list[BundleFacts]


class BuyingFacts(TypedDict):
    bundles: list[BundleFacts]
    currencies: list[str]
    currency: str  # the chosen one
    expiry: Expiry | None
    purchases: list[PurchaseFacts]  # the newest
    older: bool  # whether there are older ones


class ServicePageFacts(TypedDict):
    service: ServiceFacts


class PurchasePageFacts(TypedDict):
    purchase: PurchaseFacts


class ConsultationPageFacts(TypedDict):
    consultation: ConsultationFacts
