"""What an operator does to an account: shut it, open it again, make it an admin's. Each is noted, with the reason."""

from sqlalchemy import select

from core import streams
from core.accounts import standing
from core.accounts.addresses import parse_address
from core.accounts.models import Account, Role
from core.database import transaction
from core.errors import NotFound


async def change(verb: str, *, email: str, reason: str) -> None:
    """verb: "disable", "enable", "promote" or "demote". Raises NotFound."""
    running = []
    async with transaction() as session:
        account_id = await session.scalar(select(Account.id).where(Account.email_key == parse_address(email).key))
        if account_id is None:
            raise NotFound(email=email)
        if verb == "disable":
            running = list(await standing.disable(session, account_id=account_id, reason=reason))
        elif verb == "enable":
            await standing.enable(session, account_id=account_id, reason=reason)
        else:
            role = Role.ADMIN if verb == "promote" else Role.USER
            await standing.change_role(session, account_id=account_id, role=role, reason=reason)
    if running:
        redis = streams.connect()
        for job_id in running:
            await streams.ask_to_stop(redis, job_id)
        await redis.aclose()
