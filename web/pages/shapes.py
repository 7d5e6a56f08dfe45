"""What the pages are given: the same dicts as the answers of the API, so that a page and a client never disagree.

Times are ISO 8601 in UTC, or datetimes; `_mc` is millicredits. The functions that fill them are in `context.py`.
"""

from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

Time = str | datetime
Id = str | UUID


class AccountFacts(TypedDict):
    id: Id
    name: str
    email: str
    role: str


class CreditFacts(TypedDict):
    balance_mc: int
    held_mc: int
    available_mc: int
    debt_mc: int


class Common(TypedDict):
    """On every page. `account` and `credits` are None for a visitor who is not signed in."""

    nonce: str
    csrf_token: str
    account: AccountFacts | None
    credits: CreditFacts | None
    path: str  # of this request, with its query: where to come back to after signing in


class ServiceFacts(TypedDict):
    slug: str
    name: str
    summary: str
    description: str  # paragraphs apart by an empty line; plain text
    category: str
    sample_questions: list[str]
    input_mc_per_1k: int
    output_mc_per_1k: int
    max_output_tokens: int
    max_answer_mc: int  # the first answer of a consultation, at its longest, to the longest question
    typical_answer_mc: int
    max_question_chars: int


class BundleFacts(TypedDict):
    slug: str
    name: str
    credits_mc: int
    amount_minor: int
    currency: str
    amount: str  # "$5.00"


class HomeFacts(TypedDict):
    services: list[ServiceFacts]
    bundles: list[BundleFacts]


class ServicePageFacts(TypedDict):
    service: ServiceFacts


class CreditPageFacts(TypedDict):
    bundles: list[BundleFacts]


class PurchaseFacts(TypedDict):
    id: Id
    bundle: str  # its slug
    credits_mc: int
    amount_minor: int
    currency: str
    amount: NotRequired[str]
    state: str  # open, paid, expired, failed
    created_at: Time
    paid_at: Time | None


class PurchasePageFacts(TypedDict):
    purchase: PurchaseFacts


class GenerationFacts(TypedDict):
    state: str  # waiting, done, stopped, filtered, failed
    job: Id  # to watch while it is waiting
    end_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_estimated: bool
    hold_mc: int
    cost_mc: int | None


class MessageFacts(TypedDict):
    id: Id
    role: str  # question, answer
    text: str | None  # None: purged, or an answer that is still being written
    created_at: Time
    generation: GenerationFacts | None  # of a question: what answers it


class ConsultationFacts(TypedDict):
    id: Id
    service: ServiceFacts
    created_at: Time
    messages: list[MessageFacts]  # in the order of saying; an answer follows its question


class ConsultationPageFacts(TypedDict):
    consultation: ConsultationFacts


class ServiceName(TypedDict):
    slug: str
    name: str


class ConsultationRow(TypedDict):
    id: Id
    service: ServiceName
    created_at: Time
    beginning: str | None  # of the oldest question that is kept; None: not asked yet, or purged
    questions: NotRequired[int]
    cost_mc: NotRequired[int]  # of all its answers
    waiting: NotRequired[bool]  # an answer is being written


class ConsultationsPageFacts(TypedDict):
    consultations: list[ConsultationRow]  # newest first
    next: str | None  # the `after` of the next page


class EntryFacts(TypedDict):
    id: str
    created_at: Time
    kind: str  # purchase, grant, usage
    amount_mc: int
    balance_after_mc: int
    what: str  # "Studio bundle", or the name of the service
    link: str | None  # the page of its cause, on this site


class StatementPageFacts(TypedDict):
    entries: list[EntryFacts]  # newest first
    next: str | None


class SessionFacts(TypedDict):
    id: Id
    user_agent: str
    ip: str
    created_at: Time
    seen_at: Time
    current: bool


class AccountPageFacts(TypedDict):
    sessions: list[SessionFacts]
