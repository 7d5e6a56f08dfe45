"""The rows of a person: what goes and what stays, as the registry says, in one transaction; and the account of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account
from core.credits import ledger
from core.credits.models import CreditHold, EntryKind, HoldState
from core.privacy import books
from core.privacy.erasure_models import AccountErasure
from core.privacy.registry import KINDS, DataClass, Erasure, Table
from core.privacy.tables import TABLES
from core.teams import teams

# What no column named in the registry leads to, or has to go before what leads to it goes.
MAILS_TO_ADDRESSES = """
    delete from mail_deliveries where account_id is null and lower(recipient) in (
        select lower(recipient) from mail_deliveries where account_id = :account
        union select email_key from accounts where id = :account
    )
"""  # codes for a new address, or that an address has no account
PICTURES_NOBODY_SHOWS = """
    delete from media where account_id = :account and not exists (select from media_uses where media_id = media.id)
"""  # their files are gone by now (erasure_steps.py), and their blocks go with them
WHERE_AN_ADMIN_WAS = """
    update audit_entries set ip = '', user_agent = ''
    where actor_id = :account and account_id is distinct from :account
"""  # when they did something to another's account
# Of these classes a part is deleted, and the rest stays for a while: what goes is named by itself.
PARTLY = {
    DataClass.LOG: "What was kept to give you the same answer twice, and who in a team looked at what is yours",
    DataClass.REQUEST: "Copies of your data that you asked for",
}
FIRST = {"mail_deliveries": MAILS_TO_ADDRESSES, "media": PICTURES_NOBODY_SHOWS}


@dataclass
class Erased:
    """What went and what stays, by table: how many rows."""

    gone: dict[str, int] = field(default_factory=dict)
    stays: dict[str, int] = field(default_factory=dict)


async def erase_rows(session: AsyncSession, account_id: UUID, *, now: datetime) -> dict[str, Any]:
    """Erase what the database has of a person, but for what a law keeps; returns the account of it, for the proof.

    Twice is once: then there is nothing left to go. After a restore it is called anew (core/privacy/restore.py).
    """
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        return {"gone": [], "stays": [], "teams": {}}
    shut = update(Account).where(Account.id == account_id)
    await session.execute(
        shut.values(
            erased_at=func.coalesce(Account.erased_at, now),
            disabled_at=func.coalesce(Account.disabled_at, now),
            closing_at=None,
        )
    )
    await _settle(session, account_id)
    handed = await teams.hand_over(session, account_id, now)
    erased = Erased()
    for name, statement in FIRST.items():
        _count(erased.gone, name, await _rows(session, statement, account_id))
    await _rows(session, WHERE_AN_ADMIN_WAS, account_id)
    for table in reversed(TABLES):
        if table.owner and table.erasure is not Erasure.UNTOUCHED:
            await _erase(session, table, account_id, erased)
    await session.refresh(account)
    became = Counter(str(one.became) for one in handed)
    return {"gone": _told(erased.gone), "stays": _staying(erased.stays, now=now), "teams": dict(became)}


async def _settle(session: AsyncSession, account_id: UUID) -> None:
    """Give back what is held, and let the unused credits lapse; what is owed stays owed, by the number alone."""
    held = select(CreditHold.id).where(CreditHold.account_id == account_id, CreditHold.state == HoldState.HELD)
    for hold_id in (await session.scalars(held)).all():
        await ledger.release(session, hold_id=hold_id)
    unused_mc = (await ledger.balance(session, account_id=account_id)).available_mc
    if unused_mc > 0:
        source, kind = f"erasure:{account_id}", EntryKind.CORRECTION
        await ledger.take(session, account_id=account_id, amount_mc=unused_mc, source=source, kind=kind)


async def _erase(session: AsyncSession, table: Table, account_id: UUID, erased: Erased) -> None:
    mine = f"{table.name} where {table.owner}"
    if table.erasure is Erasure.DELETED:
        _count(erased.gone, table.name, await _rows(session, f"delete from {mine}", account_id))  # noqa: S608  # the registry's words
        return
    if table.erasure is Erasure.BLANKED:
        columns = ", ".join(f"{name} = {expression}" for name, expression in table.blank.items())
        statement = f"update {table.name} set {columns} where {table.owner}"  # noqa: S608  # the registry's words
        _count(erased.stays, table.name, await _rows(session, statement, account_id))
        return
    counted = text(f"select count(*) from {mine}")  # noqa: S608  # the registry's words
    _count(erased.stays, table.name, (await session.execute(counted, {"account": account_id})).scalar_one())


async def _rows(session: AsyncSession, statement: str, account_id: UUID) -> int:
    done = await session.execute(text(statement), {"account": account_id})
    return cast("CursorResult[Any]", done).rowcount


def _count(counts: dict[str, int], name: str, rows: int) -> None:
    if rows:
        counts[name] = counts.get(name, 0) + rows


BY_NAME: Mapping[str, Table] = {table.name: table for table in TABLES}


def _told(gone: dict[str, int]) -> list[dict[str, Any]]:
    """By class of data, in the registry's order."""
    by_class: dict[DataClass, dict[str, int]] = {}
    for name, rows in gone.items():
        by_class.setdefault(BY_NAME[name].of, {})[name] = rows
    return [
        {"class": kind, "what": _named(kind), "rows": sum(by_class[kind].values()), "tables": by_class[kind]}
        for kind in KINDS
        if kind in by_class
    ]


def _staying(stays: dict[str, int], *, now: datetime) -> list[dict[str, Any]]:
    """By reason and end; a table without either is nobody's any more."""
    found: dict[tuple[str, str | None], dict[str, int]] = {}
    for table in TABLES:
        if table.name in stays and table.why:
            found.setdefault((table.why, _until(table, now=now)), {})[table.name] = stays[table.name]
    return [
        {"why": why, "until": until, "rows": sum(tables.values()), "tables": tables}
        for (why, until), tables in found.items()
    ]


def _until(table: Table, *, now: datetime) -> str | None:
    """The day by which the last of it is gone. None: as long as what it belongs to is there."""
    if table.of is DataClass.BILLING or table.name == "accounts":
        return f"{books.until(now):%Y-%m-%d}"
    term = _term(table)
    return f"{now + term:%Y-%m-%d}" if term is not None else None


def _term(table: Table) -> timedelta | None:
    if table.ends is not None:
        return table.ends.after
    return KINDS[DataClass.BILLING if table.of is DataClass.ACCOUNT else table.of].kept


def what_goes() -> list[str]:
    """What is deleted, class by class, for who asks before."""
    classes = {table.of for table in TABLES if table.erasure is Erasure.DELETED}
    return [_named(kind) for kind in KINDS if kind in classes]


def _named(kind: DataClass) -> str:
    return PARTLY.get(kind, KINDS[kind].holds)


async def what_stays(session: AsyncSession, account_id: UUID) -> list[tuple[str, int | None]]:
    """Why something of theirs stays, and for how many days at most; None: as long as what it belongs to is there."""
    found: dict[str, int | None] = {}
    for table in TABLES:
        if table.why and table.why not in found and await _has(session, table, account_id):
            term = _term(table)
            found[table.why] = term.days if term is not None else None
    return list(found.items())


async def _has(session: AsyncSession, table: Table, account_id: UUID) -> bool:
    """Whether there is a row of theirs; of an erasure there will be one."""
    if table.name == AccountErasure.__tablename__:
        return True
    query = text(f"select exists (select from {table.name} where {table.owner})")  # noqa: S608  # the registry's words
    return bool(await session.scalar(query, {"account": account_id}))
