"""What an operator types: `python -m cli ...`."""

import argparse
import asyncio
import os
import sys
import time
from datetime import date
from pathlib import Path
from uuid import UUID

from sqlalchemy import select

from cli import accounts, archive, doctor, erasures, policies, purging, restore, seeds
from core import jobs, secrets
from core.database import statement, transaction
from core.direct import close_connections
from core.errors import ClofyError
from core.jobs import Job
from core.privacy.policy_models import Document, Weight
from core.queue import close_doorbell

ALIVE_SECONDS = 30  # a worker touches its file every heartbeat, 5 s


async def show_dead() -> None:
    """List the jobs that were given up, newest first."""
    columns = select(Job.id, Job.task, Job.attempts, Job.error, Job.finished_at).where(Job.dead)
    async with statement() as connection:
        for row in await connection.execute(columns.order_by(Job.finished_at.desc()).limit(200)):
            print(*row, sep="\t")


async def requeue(job_id: UUID) -> None:
    """Give a dead job another round of attempts; the workers' sweep rings it within a second."""
    async with transaction() as session:
        await jobs.requeue_dead(session, job_id)


async def show_counts() -> None:
    for queue, facts in sorted((await jobs.counts()).items()):
        print(queue, *[f"{name}={value}" for name, value in facts.items()], sep="\t")


def check_alive() -> int:
    """0 when this container's worker has sent a heartbeat within 30 s; its loop turned then."""
    alive = os.environ.get("CLOFY_ALIVE_FILE")
    if not alive:
        print("CLOFY_ALIVE_FILE is not set", file=sys.stderr)
        return 2
    try:
        age = time.time() - Path(alive).stat().st_mtime
    except FileNotFoundError:
        print("no heartbeat yet", file=sys.stderr)
        return 1
    print(f"last heartbeat {age:.0f} s ago")
    return 0 if age <= ALIVE_SECONDS else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("seed", help="services, and the accounts that CLOFY_SEED_* gives passwords for")
    about_all = commands.add_parser("doctor", help="whether everything is in order, each rule of the ledger among it")
    about_all.add_argument("--mail", metavar="ADDRESS", help="send a test mail there too")
    commands.add_parser("health", help="whether this container's worker is alive").add_argument("worker", nargs="?")
    about_erasures = commands.add_parser("erasures", help="accounts that are to be erased")
    about_erasures.add_argument("which", nargs="?", choices=["list", "due", "stuck"], default="list")
    about_erasures.add_argument("--child", metavar="ADDRESS", help="erase at once: its owner is under thirteen")
    purging.describe(commands)
    about_jobs = commands.add_parser("jobs", help="jobs that were given up").add_subparsers(dest="verb", required=True)
    about_jobs.add_parser("dead", help="list them")
    about_jobs.add_parser("counts", help="how many wait, run, are dead in each queue")
    about_jobs.add_parser("requeue", help="try one again").add_argument("id", type=UUID)
    about_policies = commands.add_parser("policies", help="versions of privacy policy, terms and cookies page")
    verbs = about_policies.add_subparsers(dest="verb", required=True)
    verbs.add_parser("show", help="all versions, and what is to be published")
    publish = verbs.add_parser("publish", help="make what this code says the next version, and tell all accounts")
    publish.add_argument("--document", choices=[*Document], help="only this one; else each that has changed")
    weight = publish.add_mutually_exclusive_group(required=True)
    weight.add_argument("--material", dest="weight", action="store_const", const=Weight.MATERIAL)
    weight.add_argument("--minor", dest="weight", action="store_const", const=Weight.MINOR)
    publish.add_argument("--effective", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="UTC")
    publish.add_argument("--summary", required=True, help="what changes, for people")
    about_accounts = commands.add_parser("accounts", help="shut one, open it again, give or take an admin's rights")
    about_accounts.add_argument("verb", choices=["disable", "enable", "promote", "demote"])
    about_accounts.add_argument("email")
    about_accounts.add_argument("--reason", required=True, help="kept in the audit log")
    restore.add_to(commands)
    archive.add_to(commands)
    return parser.parse_args()


async def run(given: argparse.Namespace) -> int:
    try:
        await secrets.load()
        if given.command == "seed":
            await seeds.plant()
        elif given.command == "doctor":
            return await doctor.tell(mail_to=given.mail)
        elif given.command == "policies" and given.verb == "show":
            await policies.show()
        elif given.command == "policies":
            await policies.publish(
                document=given.document, weight=given.weight, effective=given.effective, summary=given.summary
            )
        elif given.command == "accounts":
            await accounts.change(given.verb, email=given.email, reason=given.reason)
        elif given.command == "erasures":
            await (erasures.begin_for_child(given.child) if given.child else erasures.show(given.which))
        elif given.command in ("purge", "holds"):
            return await purging.answer(given)
        elif given.verb == "dead":
            await show_dead()
        elif given.verb == "counts":
            await show_counts()
        else:
            await requeue(given.id)
    finally:
        await close_doorbell()
        await close_connections()
    return 0


def main() -> int:
    given = arguments()
    if given.command == "health":
        return check_alive()
    try:
        if given.command == "archive":
            return asyncio.run(archive.run(given))
        if given.command == "restore":
            asyncio.run(restore.run(given))
            return 0
        return asyncio.run(run(given))
    except ClofyError as error:
        print(f"{error} ({error.code})", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
