"""The figures and names in what we publish; no template has one of its own (tests/core/privacy/test_policies.py)."""

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.accounts.passwords import MIN_LENGTH
from core.accounts.registration import MIN_AGE
from core.billing.refunds import WINDOW
from core.privacy import clocks, erasure, exports
from core.privacy.cookies import ASK_AGAIN, COOKIES, NAME
from core.privacy.policy_models import Document
from core.privacy.registry import KINDS, YEAR, Basis, DataClass, Erasure, Kind
from core.privacy.tables import TABLES
from core.settings import settings

DATA_PAGE = "/account/data"
SUPPORT = "support@clofy.cloud"
MODEL = "GPT-4 Turbo"  # of Azure OpenAI
REGION = "East US"  # of Microsoft Azure, unless the operator chose another
TLS = "TLS 1.2"  # the oldest that is spoken
CRITICAL_FIXED_IN = timedelta(days=30)  # what a yearly test by others finds
NOTICE = timedelta(days=30)  # between the mail about a material change and its effect

BASES = {
    Basis.CONTRACT: "to keep our contract with you",
    Basis.DUTY: "a law tells us to",
    Basis.INTEREST: "our interest in a service that is safe and works",
    Basis.CONSENT: "you said yes",
}


def span(time: timedelta) -> str:
    """A time in words: days up to a year, months up to two, then years, whose leap days count as none."""
    if time % timedelta(days=1):
        minutes = int(time.total_seconds()) // 60
        return f"{minutes // 60} hours" if minutes % 60 == 0 else f"{minutes} minutes"
    years, rest = divmod(time, YEAR)
    if years < 2 or rest.days > (years + 3) // 4:
        return f"{time.days} day{'s' if time.days != 1 else ''}"
    return f"{years} years" if years > 2 else f"{12 * years} months"


def kept_for(kind: Kind) -> str:
    if kind.kept is None:
        return "as long as your account is open"
    return f"{span(kind.kept)} after your account ends" if kind is KINDS[DataClass.BILLING] else span(kind.kept)


def what_stays() -> list[str]:
    """Why some rows outlive their person, each reason once."""
    told = (table.why for table in TABLES if table.erasure in (Erasure.KEPT, Erasure.BLANKED) and table.why)
    return list(dict.fromkeys(told))


def figures() -> dict[str, Any]:
    about_people = {of: kind for of, kind in KINDS.items() if of is not DataClass.HOUSE}
    return {
        "classes": [(of, kind, BASES[kind.basis], kept_for(kind)) for of, kind in about_people.items()],
        "kept": {of.value: kept_for(kind) for of, kind in about_people.items()},
        "stays": what_stays(),
        "seller": [line.strip() for line in settings().seller.split(";") if line.strip()],
        "site": settings().public_url,
        "support": SUPPORT,
        "data_page": DATA_PAGE,
        "model": MODEL,
        "region": REGION,
        "tls": TLS,
        "critical": span(CRITICAL_FIXED_IN),
        "notice": span(NOTICE),
        "grace": span(erasure.GRACE),
        "export_lives": span(exports.LIVES),
        "months": clocks.MONTHS,
        "more_months": clocks.EXTENDED_MONTHS - clocks.MONTHS,
        "business_days": clocks.ACKNOWLEDGED_WITHIN,
        "days": clocks.ANSWERED_WITHIN.days,
        "age": MIN_AGE,
        "password": MIN_LENGTH,
        "refund": span(WINDOW),
        "cookies": [
            (one.name, one.purpose, span(one.lives) if one.lives else "until the browser is closed") for one in COOKIES
        ],
        "cookie_name": NAME,
        "ask_again": span(ASK_AGAIN),
    }


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "texts"),
    autoescape=False,  # noqa: S701  # Markdown; what is put in is ours, and the page sanitises
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@cache
def text_of(document: Document) -> str:
    """The text that this code would publish."""
    return _templates.get_template(f"{document}.md").render(figures())
