"""By when a request is to be answered, over short months, leap years and nights on which clocks are changed."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.privacy import clocks


@pytest.mark.parametrize(
    ("received", "month", "three_months"),
    [
        (date(2026, 1, 31), date(2026, 2, 28), date(2026, 4, 30)),
        (date(2028, 1, 31), date(2028, 2, 29), date(2028, 4, 30)),
        (date(2028, 1, 30), date(2028, 2, 29), date(2028, 4, 30)),
        (date(2028, 2, 29), date(2028, 3, 29), date(2028, 5, 29)),
        (date(2026, 11, 30), date(2026, 12, 30), date(2027, 2, 28)),
        (date(2027, 11, 30), date(2027, 12, 30), date(2028, 2, 29)),
        (date(2026, 12, 31), date(2027, 1, 31), date(2027, 3, 31)),
        (date(2099, 11, 30), date(2099, 12, 30), date(2100, 2, 28)),  # 2100 has no leap day
    ],
)
def test_a_month_ends_on_the_same_day_or_on_the_last_one(received: date, month: date, three_months: date) -> None:
    assert clocks.months_after(received, clocks.MONTHS) == month
    assert clocks.months_after(received, clocks.EXTENDED_MONTHS) == three_months


@pytest.mark.parametrize(
    ("received", "by"),
    [
        (date(2026, 11, 23), date(2026, 12, 7)),  # a Monday; Thanksgiving counts, so it is earlier than the law's
        (date(2026, 11, 27), date(2026, 12, 11)),  # a Friday
        (date(2026, 11, 28), date(2026, 12, 11)),  # a Saturday
        (date(2026, 11, 29), date(2026, 12, 11)),  # a Sunday
        (date(2026, 12, 24), date(2027, 1, 7)),
    ],
)
def test_business_days_are_monday_to_friday(received: date, by: date) -> None:
    assert clocks.business_days_after(received, clocks.ACKNOWLEDGED_WITHIN) == by


def test_both_clocks_begin_at_the_receipt_and_an_extension_counts_from_there_too() -> None:
    received = datetime(2026, 1, 31, 12, tzinfo=UTC)

    assert clocks.due(received) == clocks.Due(date(2026, 2, 13), date(2026, 2, 28), date(2026, 3, 17))
    assert clocks.due(received, extended=True) == clocks.Due(date(2026, 2, 13), date(2026, 4, 30), date(2026, 5, 1))


@pytest.mark.parametrize(
    "night",
    [
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),  # clocks go forward in Europe
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # and back: 2:30 comes twice
        datetime(2026, 3, 8, 9, 59, tzinfo=UTC),  # forward in California
    ],
)
def test_a_change_of_clocks_changes_no_date(night: datetime) -> None:
    wanted = clocks.due(night)

    for place in ("Europe/Berlin", "America/Los_Angeles", "Pacific/Apia"):
        assert clocks.due(night.astimezone(ZoneInfo(place))) == wanted


def test_the_day_of_the_receipt_is_that_of_utc() -> None:
    late = datetime(2026, 1, 30, 23, 59, 59, tzinfo=timezone(timedelta(hours=-8)))  # the 31st, in UTC

    assert clocks.due(late).gdpr == date(2026, 2, 28)
    assert clocks.due(datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)).gdpr == date(2026, 3, 28)
    assert clocks.due(datetime(2026, 3, 1, tzinfo=UTC)).gdpr == date(2026, 4, 1)


@given(st.dates(date(2020, 1, 1), date(2199, 12, 31)))
def test_any_day_has_its_dates_in_order(day: date) -> None:
    due = clocks.due(datetime(day.year, day.month, day.day, tzinfo=UTC))

    assert timedelta(days=28) <= due.gdpr - day <= timedelta(days=31)
    assert due.gdpr.day == day.day or (due.gdpr + timedelta(days=1)).day == 1
    assert due.ccpa - day == timedelta(days=45)
    assert timedelta(days=12) <= due.acknowledge_by - day <= timedelta(days=14)
    assert due.acknowledge_by.weekday() < 5
