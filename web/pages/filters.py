"""How the pages write credits and times; static/format.js writes them the same way."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from web.pages.prices import usual_most_mc

TEXTS_KEPT = timedelta(days=30)  # the privacy policy, section 4


def credits_text(mc: int) -> str:
    """Millicredits as credits, exact: 1312 is "1.312", 5000000 is "5,000"."""
    whole, rest = divmod(abs(mc), 1000)
    sign = "−" if mc < 0 else ""
    return f"{sign}{whole:,}.{rest:03}".rstrip("0").rstrip(".")


def exact_text(mc: int) -> str:
    """As `credits_text`, with all three decimals, for columns that line up."""
    whole, rest = divmod(abs(mc), 1000)
    return f"{'−' if mc < 0 else ''}{whole:,}.{rest:03}"


def signed_text(mc: int) -> str:
    return exact_text(mc) if mc < 0 else f"+{exact_text(mc)}"


def rough_text(mc: int) -> str:
    """For what is about so much: never smaller than it is, in hundredths below ten credits, else in tenths."""
    step = 10 if mc < 10_000 else 100
    return credits_text(-(-mc // step) * step)


def rough_down_text(mc: int) -> str:
    """For what is at hand: never larger than it is, in the same steps."""
    step = 10 if mc < 10_000 else 100
    return credits_text(mc // step * step)


def data_text(value: object) -> str:
    """A value for a `data-` attribute, as JSON that the template escapes; ids and times as text."""
    return json.dumps(value, default=str, ensure_ascii=False)


def moment(value: str | datetime) -> datetime:
    when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def iso(value: str | datetime) -> str:
    return moment(value).astimezone(UTC).isoformat(timespec="seconds")


def day(value: str | datetime) -> str:
    """The day in UTC as people write it; static/page.js rewrites it in the reader's own zone."""
    when = moment(value).astimezone(UTC)
    return f"{when.day} {when:%b %Y}"


def clock(value: str | datetime) -> str:
    when = moment(value).astimezone(UTC)
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def month(name: str) -> str:
    """A month as people write it: "2026-05" is "May 2026"."""
    return f"{datetime.fromisoformat(f'{name}-01'):%B %Y}"


def is_purged(value: str | datetime) -> bool:
    """Whether what was written at this time has been deleted by now."""
    return purged_on(value) < datetime.now(UTC)


def purged_on(value: str | datetime) -> datetime:
    """When the text of a message of this time is deleted."""
    return moment(value) + TEXTS_KEPT


BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Macintosh": "Mac",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def browser_text(user_agent: str) -> str:
    """What people call the browser, as "Firefox on Linux". The first name found counts: browsers claim to be others."""
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), "")
    if not browser:
        return user_agent[:60] or "Unknown browser"
    return f"{browser} on {system}" if system else browser


FILTERS: dict[str, Callable[..., str | int | bool | datetime]] = {
    "credits": credits_text,
    "exact": exact_text,
    "signed": signed_text,
    "rough": rough_text,
    "rough_down": rough_down_text,
    "data": data_text,
    "usual_most": usual_most_mc,
    "browser": browser_text,
    "iso": iso,
    "day": day,
    "clock": clock,
    "month": month,
    "purged_on": purged_on,
    "is_purged": is_purged,
}
