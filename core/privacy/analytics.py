"""Counts of pages that name nobody: how often a kind of page was opened on a day, by which browsers, and from where.

Only who said yes is counted (core/privacy/consents.py). A process adds up in memory and writes sums every few seconds:
there is no row, and no moment, of a single visit. Sums that a killed process had not written are lost.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.privacy.consent_models import AnalyticsCount

VIEW, BROWSER, FROM = "view", "browser:", "from:"
SITE = "*"  # the route of what is counted of the whole site
MOST_SITES = 100  # that led here, a day; the rest is OTHER, as is what is no plain name of a host
MOST_WAITING = 5_000  # sums in memory while PostgreSQL is away
OTHER = "other"
HOST = re.compile(r"(?=.{1,80}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")

Key = tuple[date, str, str]  # day, route, what


class Sums:
    """What this process has counted and not written yet."""

    def __init__(self) -> None:
        self.waiting: Counter[Key] = Counter()

    def add(self, *, day: date, route: str, browser: str, came_from: str) -> None:
        """Count a page. route: a template, never a path. browser: a family. came_from: another site's host, or ""."""
        keys = [(day, route, VIEW), (day, SITE, BROWSER + browser)]
        if came_from:
            keys.append((day, SITE, FROM + (came_from if HOST.fullmatch(came_from) else OTHER)))
        for key in keys:
            if key in self.waiting or len(self.waiting) < MOST_WAITING:
                self.waiting[key] += 1

    def take(self) -> Mapping[Key, int]:
        taken, self.waiting = self.waiting, Counter()
        return taken

    def give_back(self, taken: Mapping[Key, int]) -> None:
        """They could not be written."""
        self.waiting.update(taken)


async def write(session: AsyncSession, sums: Mapping[Key, int]) -> None:
    """Add to the sums of their days. Writers go one after another, so that the bound on sites holds."""
    if not sums:
        return
    await session.execute(text("select pg_advisory_xact_lock(hashtext('analytics_counts'))"))
    folded: Counter[Key] = Counter()
    for day in {day for day, _, _ in sums}:
        of_sites = (AnalyticsCount.day == day, AnalyticsCount.route == SITE, AnalyticsCount.what.startswith(FROM))
        sites = set(await session.scalars(select(AnalyticsCount.what).where(*of_sites)))
        for (of_day, route, what), n in sums.items():
            if of_day != day:
                continue
            if what.startswith(FROM) and what not in sites:
                if len(sites) < MOST_SITES:
                    sites.add(what)
                else:
                    what = FROM + OTHER  # noqa: PLW2901  # folded into the rest
            folded[day, route, what] += n
    rows = [{"day": day, "route": route, "what": what, "n": n} for (day, route, what), n in folded.items()]
    row = insert(AnalyticsCount).values(rows)
    keys = [AnalyticsCount.day, AnalyticsCount.route, AnalyticsCount.what]
    await session.execute(row.on_conflict_do_update(index_elements=keys, set_={"n": AnalyticsCount.n + row.excluded.n}))


@dataclass(frozen=True)
class Sum:
    name: str
    n: int


@dataclass(frozen=True)
class Report:
    """Sums of some days, the largest first."""

    days: Sequence[Sum]  # views of each day, the latest first
    routes: Sequence[Sum]
    browsers: Sequence[Sum]
    sites: Sequence[Sum]


async def report(session: AsyncSession, *, since: date) -> Report:
    total = func.sum(AnalyticsCount.n)
    of_days = select(AnalyticsCount.day, total).where(AnalyticsCount.day >= since, AnalyticsCount.what == VIEW)
    days = await session.execute(of_days.group_by(AnalyticsCount.day).order_by(AnalyticsCount.day.desc()))
    grouped = select(AnalyticsCount.route, AnalyticsCount.what, total).where(AnalyticsCount.day >= since)
    rows = (await session.execute(grouped.group_by(AnalyticsCount.route, AnalyticsCount.what))).all()

    def of(prefix: str) -> list[Sum]:
        found = [Sum(what.removeprefix(prefix), int(n)) for _, what, n in rows if what.startswith(prefix)]
        return sorted(found, key=lambda one: (-one.n, one.name))

    views = [Sum(route, int(n)) for route, what, n in rows if what == VIEW]
    return Report(
        [Sum(day.isoformat(), int(n)) for day, n in days],
        sorted(views, key=lambda one: (-one.n, one.name)),
        of(BROWSER),
        of(FROM),
    )
