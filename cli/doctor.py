"""Whether everything is in order: each check says one line, and one that does not hold makes the exit code 1."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from alembic.script import ScriptDirectory
from redis.asyncio import Redis
from sqlalchemy import func, select, text

from core import database, jobs
from core.billing.invariants import ALL
from core.billing.models import Purchase, Reconciliation
from core.credits import invariants
from core.database import transaction
from core.errors import ClofyError
from core.jobs import Job
from core.mail import smtp
from core.mail.deliveries import Outgoing
from core.mail.render import render
from core.media import blobs
from core.media.blobs import NoStorage
from core.privacy import archive, canaries, drill, policies, purge, purge_receipts
from core.settings import settings

MIGRATIONS = Path(__file__).parent.parent / "migrations"
PATIENCE = 60  # seconds for one check; those of the ledger read its tables whole
DEAD_FOR = timedelta(days=1)  # by then an operator should have looked at what was given up
PURGED_WITHIN = timedelta(hours=3)  # beat has it run each hour
COMPARED_WITHIN = timedelta(hours=3)  # beat compares with Stripe each hour

Findings = list[str]  # nothing: it holds


async def postgres_answers() -> Findings:
    await database.ping()
    return []


async def redis_answers() -> Findings:
    """The broker, and the Redis of the streams where that is another."""
    for url in {settings().redis_url, settings().streams_url}:
        redis = Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)
        try:
            await redis.ping()
        finally:
            await redis.aclose()
    return []


async def migrations_are_done() -> Findings:
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    async with transaction() as session:
        done = await session.scalar(text("select version_num from alembic_version"))
    return [] if done == head else [f"the database is at {done}, the code at {head}"]


async def nothing_lies_dead() -> Findings:
    old = Job.dead & (Job.finished_at < func.now() - DEAD_FOR)
    async with transaction() as session:
        rows = await session.execute(select(Job.task, func.count()).where(old).group_by(Job.task).order_by(Job.task))
        return [f"{number} of {task}: python -m cli jobs dead" for task, number in rows]


async def stripe_was_compared() -> Findings:
    """A house that has sold nothing for as long has nothing to compare yet."""
    early = func.now() - COMPARED_WITHIN
    async with transaction() as session:
        last = await session.scalar(select(func.max(Reconciliation.ended_at)))
        late = await session.scalar(select(func.max(Reconciliation.ended_at) < early))
        sold = await session.scalar(select(select(Purchase.id).where(Purchase.created_at < early).exists()))
    if last is None:
        return ["never, and there are purchases"] if sold else []
    return [f"the last time was {last:%Y-%m-%d %H:%M} UTC"] if late else []


async def documents_are_published() -> Findings:
    async with transaction() as session:
        return [f"{one}: python -m cli policies publish" for one in await policies.unpublished(session)]


async def nothing_is_kept_too_long() -> Findings:
    """As the hourly purge sees it; a house that is younger than its hour has no receipt yet."""
    async with transaction() as session:
        now = await jobs.now_of(session)
        late = await purge.overdue(session, now=now)
        canaries_late = await canaries.waiting_too_long(session, now=now)
        last = await purge_receipts.last_at(session)
    found = [f"rows of {table} should have gone by {due_at:%Y-%m-%d %H:%M} UTC" for table, due_at in late.items()]
    if canaries_late:
        found.append(f"{canaries_late} canaries should be gone")
    if last is not None and last < now - PURGED_WITHIN:
        found.append(f"the purge came to its end the last time at {last:%Y-%m-%d %H:%M} UTC")
    return found


async def copies_can_be_restored() -> Findings:
    """A house without a storage has none; then PostgreSQL's own backups are all there is (docs/operations.md)."""
    with suppress(NoStorage):
        return await drill.findings(now=datetime.now(UTC))
    return []


async def days_are_archived() -> Findings:
    """A house whose archive has not begun is young, or has no storage."""
    with suppress(NoStorage):
        there = await archive.days()
        if there and there[-1] < datetime.now(UTC).date() - timedelta(days=2):
            return [f"the last day in it is {there[-1]}"]
    return []


CHECKS: dict[str, Callable[[], Awaitable[Findings]]] = {
    "PostgreSQL answers": postgres_answers,
    "Redis answers": redis_answers,
    "the migrations are at the code's": migrations_are_done,
    "our documents say what is published": documents_are_published,
    "no job was given up more than a day ago": nothing_lies_dead,
    "Stripe's books were compared with ours within three hours": stripe_was_compared,
    "nothing is kept for longer than its term": nothing_is_kept_too_long,
    "there is a copy of the last 26 hours, and the last drill restored one": copies_can_be_restored,
    "the day before yesterday is in the archive": days_are_archived,
}


async def rules_hold() -> dict[str, Findings]:
    """Each rule of the credits and of billing, with the accounts of which it does not hold."""
    async with transaction() as session:
        found = await invariants.violations(session, ALL)
    said: dict[str, Findings] = {rule: [] for rule in ALL}
    for one in found:
        kept, unit = ("mc are kept", " mc") if one.rule in invariants.CHECKS else ("is kept", "")
        said[one.rule].append(f"account {one.account_id}: {one.kept} {kept}, {one.expected}{unit} expected")
    return said


async def examine() -> dict[str, Findings]:
    """Make all checks; what each found, by its name."""
    said: dict[str, Findings] = {}
    for name, check in CHECKS.items():
        with _finding_of(name, said):
            async with asyncio.timeout(PATIENCE):
                said[name] = await check()
    with _finding_of("the ledger adds up", said):
        async with asyncio.timeout(PATIENCE):
            said |= await rules_hold()
    return said


@contextmanager
def _finding_of(name: str, said: dict[str, Findings]) -> Iterator[None]:
    """Whatever keeps a check from being made is its finding: the others are made all the same."""
    try:
        yield
    except Exception as error:
        said[name] = [f"could not be checked: {type(error).__name__}"]


async def a_mail_is_taken(recipient: str) -> Findings:
    """Send a test mail, past the queue, so that what is wrong is told here."""
    mail = Outgoing(uuid4(), recipient, "test", {})
    try:
        async with smtp.envelope(render(mail)) as deliver:
            await deliver()
    except ClofyError as error:
        return [f"{error.code}: {error.facts}"]
    return []


async def tell(*, mail_to: str | None = None) -> int:
    """Print what was found, a line each. Returns the exit code: 0 when all holds.

    mail_to: whom to send a test mail
    """
    said = await examine()
    if mail_to is not None:
        name = f"the mail server takes a test mail to {mail_to}"
        with _finding_of(name, said):
            said[name] = await a_mail_is_taken(mail_to)
    await blobs.close()
    for name, findings in said.items():
        for finding in findings:
            print("WRONG", name, finding, sep="\t")
        if not findings:
            print("ok", name, sep="\t")
    return 1 if any(said.values()) else 0
