"""What each page shows, one function a page: the only file of the pages that calls core.

Each raises core.errors.NotFound for what is not there or not the account's.
"""

from uuid import UUID

from web.pages import shapes


async def common() -> shapes.Common:
    raise NotImplementedError  # the lead: nonce and token of web/security.py, g.account, credits of core.credits


async def home() -> shapes.HomeFacts:
    raise NotImplementedError  # the lead: listed services in their order, bundles


async def service(slug: str) -> shapes.ServicePageFacts:
    raise NotImplementedError  # the lead


async def buying() -> shapes.CreditPageFacts:
    raise NotImplementedError  # the lead: bundles


async def purchase(purchase_id: UUID, *, account_id: UUID) -> shapes.PurchasePageFacts:
    raise NotImplementedError  # the lead: from our row alone, without asking Stripe; the page then polls the API


async def consultations(*, account_id: UUID, after: str | None) -> shapes.ConsultationsPageFacts:
    raise NotImplementedError  # the lead


async def consultation(consultation_id: UUID, *, account_id: UUID) -> shapes.ConsultationPageFacts:
    raise NotImplementedError  # the lead


async def statement(*, account_id: UUID, after: str | None) -> shapes.StatementPageFacts:
    raise NotImplementedError  # the lead: as GET /api/credits/entries


async def account(*, account_id: UUID, session_id: UUID) -> shapes.AccountPageFacts:
    raise NotImplementedError  # the lead: as GET /api/sessions; `current` by session_id
