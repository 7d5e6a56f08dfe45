"""The inbox of an account: what is told there, how much of it is unread, and that it was read."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.direct import Hot, Unit
from core.errors import NotFound
from core.notices.models import Notice

PAGE = 30

# By the mail's template: which of its facts the notice keeps. A mail that only carries a code has no notice.
_MONEY = ("amount", "bundle_name", "credits", "purchase_id")
KINDS: dict[str, tuple[str, ...]] = {
    "receipt": _MONEY,
    "refund_sent": _MONEY,
    "refund_failed": _MONEY,
    "payment_failed": _MONEY,
    "policy_change": ("document", "summary", "effective", "weight", "path"),
    "dispute_opened": _MONEY,
    "security_change": ("what",),
    "new_browser": ("ip", "user_agent"),
    "lost_factor_asked": ("due",),
    "already_registered": (),
    "export_ready": ("until", "size"),
    "export_failed": (),
    "low_balance": ("credits",),
    "announcement": ("title", "text"),
    "erasure_begun": ("due",),
    "erasure_soon": ("due",),
    "erasure_undone": (),
    "erasure_waits": ("reason",),
    "privacy_request": ("title", "text"),
    "privacy_identity": ("what",),
    "privacy_due": ("what", "when", "request"),
    "team_invitation": ("invitation", "until"),
    "team_change": ("what",),
}


async def tell(session: AsyncSession, *, key: str, account_id: UUID, kind: str, facts: dict[str, Any]) -> bool:
    """Write a notice, once for each key; False if the key was there. Of the facts it keeps what KINDS names."""
    kept = {name: facts[name] for name in KINDS[kind] if name in facts}
    row = insert(Notice).values(key=key, account_id=account_id, kind=kind, facts=kept)
    written = row.on_conflict_do_nothing(index_elements=[Notice.key]).returning(Notice.id)
    return await session.scalar(written) is not None


_UNREAD = Hot("select count(*) from notices where account_id = :account_id and read_at is null")


async def unread(session: Unit, *, account_id: UUID) -> int:
    count: int = await _UNREAD.value(session, account_id=account_id)
    return count


async def page(session: AsyncSession, *, account_id: UUID, after: UUID | None, limit: int = PAGE) -> list[Notice]:
    """Newest first; `after` is the last id of the page before."""
    query = select(Notice).where(Notice.account_id == account_id).order_by(Notice.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Notice.id < after)
    return list(await session.scalars(query))


async def mark_read(session: AsyncSession, notice_id: UUID, *, account_id: UUID) -> None:
    """One's own; read twice, it was read the first time. Raises NotFound."""
    mine = (Notice.id == notice_id, Notice.account_id == account_id)
    change = update(Notice).where(*mine).values(read_at=func.coalesce(Notice.read_at, func.now()))
    if await session.scalar(change.returning(Notice.id)) is None:
        raise NotFound(notice=notice_id)


async def mark_all_read(session: AsyncSession, *, account_id: UUID) -> None:
    unread_ones = update(Notice).where(Notice.account_id == account_id, Notice.read_at.is_(None))
    await session.execute(unread_ones.values(read_at=func.now()))
