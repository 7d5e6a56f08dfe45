"""Counts of pages: sums that name nobody, bounded in number, added up by several processes."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy import analytics
from core.privacy.analytics import Sums
from core.privacy.consent_models import AnalyticsCount

DAY = date(2001, 5, 1)  # of no other test


async def kept(session: AsyncSession, day: date = DAY) -> dict[tuple[str, str], int]:
    rows = await session.scalars(select(AnalyticsCount).where(AnalyticsCount.day == day))
    return {(one.route, one.what): one.n for one in rows}


def counted(*, route: str = "/services/<slug>", browser: str = "Firefox", came_from: str = "", times: int = 1) -> Sums:
    sums = Sums()
    for _ in range(times):
        sums.add(day=DAY, route=route, browser=browser, came_from=came_from)
    return sums


async def test_sums_of_two_processes_are_added(session: AsyncSession) -> None:
    await analytics.write(session, counted(times=2, came_from="example.org").take())
    await analytics.write(session, counted(browser="Chrome").take())
    await analytics.write(session, {})

    assert await kept(session) == {
        ("/services/<slug>", "view"): 3,
        ("*", "browser:Firefox"): 2,
        ("*", "browser:Chrome"): 1,
        ("*", "from:example.org"): 2,
    }


@pytest.mark.parametrize(
    "host", ["x" * 81 + ".org", "localhost", "a b.org", "-a.org", "ex.org:80", "日本.jp", "a..org"]
)
def test_what_is_no_plain_host_is_counted_as_another(host: str) -> None:
    assert (DAY, "*", "from:other") in counted(came_from=host).take()


async def test_sites_of_a_day_are_bounded(session: AsyncSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analytics, "MOST_SITES", 2)
    for number in range(5):
        await analytics.write(session, counted(came_from=f"site{number}.example").take())
    await analytics.write(session, counted(came_from="site0.example").take())

    sites = {what: n for (_, what), n in (await kept(session)).items() if what.startswith("from:")}

    assert sites == {"from:site0.example": 2, "from:site1.example": 1, "from:other": 3}


def test_what_waits_in_memory_is_bounded_and_what_could_not_be_written_is_not_lost() -> None:
    sums = Sums()
    for number in range(analytics.MOST_WAITING + 10):
        sums.add(day=DAY, route=f"/{number}", browser="Firefox", came_from="")
    taken = sums.take()
    assert len(taken) == analytics.MOST_WAITING

    sums.add(day=DAY, route="/1", browser="Firefox", came_from="")
    sums.give_back(taken)

    assert sums.waiting[DAY, "/1", "view"] == 2


async def test_a_report_has_the_largest_first_and_no_day_before(session: AsyncSession) -> None:
    since = datetime.now(UTC).date() + timedelta(days=400)  # of no other test
    for route, times in (("/a", 1), ("/b", 3)):
        sums = Sums()
        for _ in range(times):
            sums.add(day=since, route=route, browser="Firefox", came_from="example.org")
        await analytics.write(session, sums.take())
    await analytics.write(session, counted().take())

    report = await analytics.report(session, since=since)

    assert [(one.name, one.n) for one in report.days] == [(since.isoformat(), 4)]
    assert [(one.name, one.n) for one in report.routes] == [("/b", 3), ("/a", 1)]
    assert [(one.name, one.n) for one in report.browsers] == [("Firefox", 4)]
    assert [(one.name, one.n) for one in report.sites] == [("example.org", 4)]
