"""By when a request is to be answered. Two clocks run from its receipt, and the time to prove who asked is within both.

All days are UTC. A date is the last day on which something is in time: it is late from the next midnight on.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

ACKNOWLEDGED_WITHIN = 10  # business days (11 CCR 7021(a))
ANSWERED_WITHIN = timedelta(days=45)  # calendar days (11 CCR 7021(b))
EXTENDED_TO = timedelta(days=90)  # from the receipt, with notice (11 CCR 7021(b))
MONTHS, EXTENDED_MONTHS = 1, 3  # from the receipt: one, and two further ones with notice (GDPR, article 12(3))
REMINDED = (10, 3)  # days before a due date on which admins are told


@dataclass(frozen=True)
class Due:
    acknowledge_by: date
    gdpr: date
    ccpa: date


def day_of(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def due(received_at: datetime, *, extended: bool = False) -> Due:
    """The dates of a request that came at this time."""
    day = day_of(received_at)
    return Due(
        acknowledge_by=business_days_after(day, ACKNOWLEDGED_WITHIN),
        gdpr=months_after(day, EXTENDED_MONTHS if extended else MONTHS),
        ccpa=day + (EXTENDED_TO if extended else ANSWERED_WITHIN),
    )


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or its last where there is no such day (Regulation 1182/71, article 3(2)(c))."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def business_days_after(day: date, count: int) -> date:
    """Monday to Friday. Holidays count as business days here, so that the date is never later than the law's."""
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5
    return day
