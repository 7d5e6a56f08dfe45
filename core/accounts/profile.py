"""What an account says about its person, and accounts that an operator provides."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.addresses import parse_address
from core.accounts.models import Account, Role
from core.errors import NotFound

CHANGEABLE = frozenset({"name", "company"})


async def get_account(session: AsyncSession, *, account_id: UUID) -> Account:
    return (await session.scalars(select(Account).where(Account.id == account_id))).one()


async def find_account(session: AsyncSession, account_id: UUID) -> Account:
    """For an admin. Raises NotFound."""
    account = await session.get(Account, account_id)
    if account is None:
        raise NotFound(account=account_id)
    return account


async def search(session: AsyncSession, part: str, *, limit: int = 20) -> list[Account]:
    """Accounts whose address has this in it, whatever its case; for an admin."""
    query = select(Account).where(Account.email_key.contains(part.lower(), autoescape=True))
    return list(await session.scalars(query.order_by(Account.email_key).limit(limit)))


async def addresses(session: AsyncSession, account_ids: Collection[UUID]) -> dict[UUID, str]:
    """The addresses of accounts, by their ids."""
    found = await session.scalars(select(Account).where(Account.id.in_(account_ids)))
    return {account.id: account.email for account in found}


async def names(session: AsyncSession, account_ids: Collection[UUID]) -> dict[UUID, str]:
    """What these people are called; those that are gone are left out."""
    query = select(Account.id, Account.name).where(Account.id.in_(account_ids))
    return {row.id: row.name for row in await session.execute(query)}


async def reachable(session: AsyncSession, account_ids: Collection[UUID]) -> list[Account]:
    """Those of these accounts that may be written to on our own account: proven, not shut and not restricted."""
    query = select(Account).where(
        Account.id.in_(account_ids),
        Account.email_verified_at.is_not(None),
        Account.disabled_at.is_(None),
        Account.restricted_at.is_(None),
    )
    return list(await session.scalars(query))


async def admins(session: AsyncSession) -> list[Account]:
    """Those who look after this house now."""
    query = select(Account).where(
        Account.role == Role.ADMIN, Account.email_verified_at.is_not(None), Account.disabled_at.is_(None)
    )
    return list(await session.scalars(query.order_by(Account.id)))


async def next_reachable(session: AsyncSession, *, after: UUID | None, limit: int) -> list[Account]:
    """The next accounts, by id, that may be written to on our own account."""
    query = select(Account).where(Account.email_verified_at.is_not(None), Account.disabled_at.is_(None))
    if after is not None:
        query = query.where(Account.id > after)
    return list(await session.scalars(query.order_by(Account.id).limit(limit)))


async def change_account(session: AsyncSession, *, account_id: UUID, changes: dict[str, Any]) -> Account:
    """Set name or company, and nothing else."""
    assert CHANGEABLE.issuperset(changes)
    change = update(Account).where(Account.id == account_id).values(**changes, id=account_id)
    return (await session.scalars(change.returning(Account))).one()


async def provide_account(
    session: AsyncSession, *, email: str, password_hash: str, name: str, role: Role = Role.USER
) -> UUID:
    """Have a verified account with this password and role, for the sandbox and for a first admin; twice is once."""
    address = parse_address(email)
    row = insert(Account).values(
        email=address.email,
        email_key=address.key,
        password_hash=password_hash,
        name=name,
        role=role,
        email_verified_at=func.now(),
    )
    again = row.on_conflict_do_update(
        index_elements=[Account.email_key],
        set_={key: row.excluded[key] for key in ("password_hash", "name", "role", "email_verified_at")},
    )
    return (await session.scalars(again.returning(Account.id))).one()
