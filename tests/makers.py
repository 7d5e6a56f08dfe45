"""`make_x` gives a valid x, and takes only what a test is about."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Role
from core.consultations import conversation


async def make_account(session: AsyncSession, *, role: Role = Role.USER, email: str | None = None) -> UUID:
    email = email or f"{uuid4()}@people.example"
    account = Account(
        email=email,
        email_key=email.lower(),
        password_hash="$argon2id$none",
        name="Pat Person",
        role=role,
        email_verified_at=datetime.now(UTC),
    )
    session.add(account)
    await session.flush()
    return account.id


async def make_consultation(session: AsyncSession, account_id: UUID, service: str = "general-advisor") -> UUID:
    return await conversation.begin(session, account_id=account_id, service=service)
