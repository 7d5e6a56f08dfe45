"""What the API answers, as /openapi.json describes it; the pages show the same, so that the two never disagree.

`_mc` is millicredits; times are ISO 8601 in UTC.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import WithJsonSchema
from typing_extensions import TypedDict  # pydantic reads the one of Python 3.12 and newer

Time = Annotated[str | datetime, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str | UUID, WithJsonSchema({"type": "string", "format": "uuid"})]


class FieldFault(TypedDict):
    field: str
    rule: str


class _Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class Problem(_Problem, total=False):
    """RFC 9457. `code` is stable; some problems carry further facts."""

    errors: list[FieldFault]
    needed_mc: int
    available_mc: int
    retry_after: float  # seconds
    reason: str  # why a purchase cannot be refunded
    findings: list[str]  # why a post cannot be published
    version: int  # the next four of a post that somebody else has changed: as it is now,
    theirs: str  # what it says now,
    merged: str  # both changes in one text, with marks where they disagree,
    difference: list[dict[str, Any]]  # and by parts: side (same, mine, theirs, both), base, mine, theirs as lines


class CodeSent(TypedDict):
    state: Literal["code_sent"]


class MailState(TypedDict):
    state: Literal["queued", "sending", "deferred", "accepted", "refused", "failed", "withheld"]
    words: str  # what it means, and what to do


class PasswordStrength(TypedDict):
    score: int  # 0, guessed at once, to 4
    rule: str | None  # the one that it breaks; null if it may be set


class SignedInFacts(TypedDict):
    state: Literal["signed_in", "second_factor"]
    methods: list[Literal["passkey", "totp", "recovery_code", "email_code"]]  # best first; one of them is to follow
    csrf_token: str


class PasskeyOptions(TypedDict):
    options: dict[str, Any]  # for PublicKeyCredential.parse...OptionsFromJSON() (WebAuthn, level 3)


class AccountFacts(TypedDict):
    id: Id
    name: str
    email: str
    role: str


class SessionState(TypedDict):
    state: Literal["anonymous", "signed_in"]
    csrf_token: str
    account: AccountFacts | None


class SessionFacts(TypedDict):
    id: Id
    user_agent: str
    ip: str
    created_at: Time
    seen_at: Time
    expires_at: Time
    current: bool


class Sessions(TypedDict):
    sessions: list[SessionFacts]


class HistoryEntry(TypedDict):
    id: str
    at: Time
    action: str
    words: str
    outcome: Literal["done", "refused"]
    by: Literal["you", "us", "somebody"]
    ip: str
    user_agent: str


class History(TypedDict):
    entries: list[HistoryEntry]  # newest first
    next: str | None


class ProfileFacts(AccountFacts):
    company: str | None
    created_at: Time


class ExpiryFacts(TypedDict):
    amount_mc: int
    at: Time


class CreditFacts(TypedDict):
    balance_mc: int
    held_mc: int
    available_mc: int
    debt_mc: int
    next_expiry: ExpiryFacts | None  # the credits that expire next


class EntryFacts(TypedDict):
    id: str
    created_at: Time
    kind: str  # purchase, grant, promotion, usage, refund, dispute, restored, expiry, correction
    amount_mc: int
    balance_after_mc: int
    what: str  # "Credits bought", or the name of the service
    link: str | None  # the page of its cause, on this site
    reason: str | None  # what an admin wrote to it
    expires_at: Time | None  # of promotional credits


class Entries(TypedDict):
    entries: list[EntryFacts]  # newest first
    next: str | None


class MonthFacts(TypedDict):
    """closing = opening + in - used - returned - expired."""

    month: str  # "2026-05", in UTC
    opening_mc: int
    in_mc: int
    used_mc: int
    returned_mc: int
    expired_mc: int
    closing_mc: int


class Months(TypedDict):
    months: list[MonthFacts]  # newest first; those in which something moved


class Price(TypedDict):
    amount_minor: int  # in the currency's smallest unit, as Stripe counts it
    amount: str  # "$5.00"


class BundleFacts(TypedDict):
    slug: str
    name: str
    credits_mc: int
    amount_minor: int
    currency: str  # the one of whoever names none
    amount: str
    prices: dict[str, Price]  # by currency, in lower case


class Bundles(TypedDict):
    bundles: list[BundleFacts]


class CheckoutFacts(TypedDict):
    id: Id
    checkout_url: str


class RefundFacts(TypedDict):
    id: Id
    amount_minor: int
    amount: str
    credits_mc: int  # taken back for it
    state: Literal["requested", "pending", "succeeded", "failed", "canceled"]
    by: Literal["buyer", "stripe"]  # who began it
    failure: str | None  # why it came to nothing; a code
    created_at: Time


class RefundAsked(TypedDict):
    refund: RefundFacts


class DisputeFacts(TypedDict):
    amount_minor: int
    amount: str
    status: str  # Stripe's; one that begins with "warning_" takes nothing
    holds_back: bool
    decided: bool
    created_at: Time


class RefundableFacts(TypedDict):
    amount_minor: int
    amount: str
    credits_mc: int


class RefundRefused(TypedDict):
    reason: Literal["not-paid", "too-old", "disputed", "under-way", "nothing-unused"]
    sentence: str


class PurchaseFacts(TypedDict):
    id: Id
    bundle: str  # its slug
    bundle_name: str
    credits_mc: int
    amount_minor: int
    currency: str
    amount: str
    state: Literal["open", "paid", "expired", "failed"]
    created_at: Time
    paid_at: Time | None
    receipt: str | None  # its number, as "CC-000123"
    reversed_minor: int  # refunded, or disputed
    reversed: str
    refunds: list[RefundFacts]  # oldest first
    disputes: list[DisputeFacts]
    refundable: RefundableFacts | None  # what its buyer may have back now
    refund_refused: RefundRefused | None  # why nothing


class Purchases(TypedDict):
    purchases: list[PurchaseFacts]  # newest first
    next: Id | None


class ReceiptFacts(TypedDict):
    number: str  # "CC-000123"
    purchase: Id
    issued_at: Time
    bundle_name: str
    credits_mc: int
    amount: str
    returned: str | None  # of the amount, by refunds or by the buyer's bank
    pdf: str  # its path on this site


class Receipts(TypedDict):
    receipts: list[ReceiptFacts]  # newest first
    next: str | None


class ServiceFacts(TypedDict):
    slug: str
    version: int
    name: str
    summary: str
    description: str  # paragraphs apart by an empty line; plain text
    category: str
    sample_questions: list[str]
    input_mc_per_1k: int
    output_mc_per_1k: int
    max_output_tokens: int
    max_question_chars: int
    typical_answer_mc: int
    max_answer_mc: int  # the first answer of a consultation, at its longest, to the longest question


class Services(TypedDict):
    services: list[ServiceFacts]


class Created(TypedDict):
    id: Id


class GenerationFacts(TypedDict):
    state: Literal["waiting", "done", "stopped", "filtered", "failed"]
    job: Id  # to watch while it is waiting
    end_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_estimated: bool
    hold_mc: int
    cost_mc: int | None
    ended_at: Time | None


class PriceFacts(TypedDict):
    service: str  # its slug
    name: str
    version: int  # what was charged stays that of this version
    input_mc_per_1k: int
    output_mc_per_1k: int


class AnswerReceipt(GenerationFacts):
    question: Id
    answer: Id | None
    asked_at: Time
    price: PriceFacts


class MessageFacts(TypedDict):
    id: Id
    role: Literal["question", "answer"]
    text: str | None  # None: purged
    created_at: Time
    generation: GenerationFacts | None  # of a question: what answers it


class ConsultationFacts(TypedDict):
    id: Id
    created_at: Time
    service: ServiceFacts
    messages: list[MessageFacts]  # in the order of saying; an answer follows its question


class ServiceName(TypedDict):
    slug: str
    name: str


class ConsultationRow(TypedDict):
    id: Id
    created_at: Time
    service: ServiceName
    beginning: str | None  # of the oldest question that is kept; None: not asked yet, or purged


class Consultations(TypedDict):
    consultations: list[ConsultationRow]  # newest first
    next: Id | None  # the `after` of the next page


class AskedFacts(TypedDict):
    """A question that was taken: the job to watch, and what is held for it."""

    job: Id
    message: Id
    hold_mc: int
    output_cap: int  # tokens


class JobFacts(TypedDict):
    id: Id
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    result: dict[str, Any] | None
    reason: str | None
    created_at: Time
    finished_at: Time | None


class EventFacts(TypedDict):
    id: str  # "<attempt>-<n>"
    type: Literal["queued", "started", "delta", "progress", "restarted", "done", "failed", "cancelled"]
    data: dict[str, Any]


class Events(TypedDict):
    events: list[EventFacts]
    done: bool


class Ticket(TypedDict):
    ticket: str
    expires_in: int  # seconds
