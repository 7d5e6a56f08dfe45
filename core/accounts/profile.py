"""What an account says about its person, and accounts that an operator provides."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.addresses import parse_address
from core.accounts.models import Account, Role

CHANGEABLE = frozenset({"name", "company"})


async def get_account(session: AsyncSession, *, account_id: UUID) -> Account:
    return (await session.scalars(select(Account).where(Account.id == account_id))).one()


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
