"""What admins look into, an account's money on one time line and the books; what they give and take, with a reason."""

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts import profile
from core.accounts.models import Account
from core.billing import reports, timeline
from core.billing.invariants import ALL
from core.credits import adjustments, invariants
from core.credits.adjustments import MOST_MC
from core.credits.timeline import NOW, Happening
from core.database import transaction
from core.errors import InvalidInput
from web import credits  # noqa: A004  # the noun of the house
from web.admin_shapes import AccountRows, AccountView, AdjustmentFacts, Reconciliations, Timeline, Violations
from web.callers import caller
from web.inputs import Input, Line, takes
from web.openapi import answers, query
from web.replay import attempt_key
from web.session import admin_only, fresh_admin

blueprint = Blueprint("admin", __name__, url_prefix="/api/admin")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLACE = re.compile(r"([0-9]{1,16})\.([A-Za-z0-9:_-]{1,120})")  # microseconds, and the key of a happening
AFTER_PLACE = {"type": "string", "pattern": f"^({PLACE.pattern})?$"}
LONGEST = 254  # characters of an address (RFC 5321)


def _moment(value: object) -> object:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("must be a time as 2001-12-31T23:59:59Z")
    return moment


def _not_nothing(amount_mc: int) -> int:
    if amount_mc == 0:
        raise ValueError("must not be 0")
    return amount_mc


Amount = Annotated[int, Field(ge=-MOST_MC, le=MOST_MC), AfterValidator(_not_nothing)]
Reason = Annotated[Line, StringConstraints(min_length=3, max_length=500)]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class NewAdjustment(Input):
    amount_mc: Amount
    reason: Reason
    expires_at: Moment | None = None


@blueprint.get("/accounts")
@admin_only
@query(email={"type": "string", "maxLength": LONGEST})
@answers(AccountRows)
async def find_accounts() -> ResponseReturnValue:
    """Accounts with this in their address."""
    part = request.args.get("email", "").strip()
    if len(part) > LONGEST:
        raise InvalidInput(field="email", rule="must be a part of an address")
    return {"accounts": await found_accounts(part)}


async def found_accounts(part: str) -> list[dict[str, Any]]:
    async with transaction() as session:
        return [_row(account) for account in await profile.search(session, part)] if part else []


def _row(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "email": account.email,
        "role": account.role,
        "created_at": account.created_at,
        "disabled": account.disabled_at is not None,
    }


@blueprint.get("/accounts/<uuid:account_id>")
@admin_only
@answers(AccountView)
async def show_account(account_id: UUID) -> ResponseReturnValue:
    async with transaction() as session:
        return await view(session, account_id)


async def view(session: AsyncSession, account_id: UUID) -> dict[str, Any]:
    """An account and what it has. Raises NotFound."""
    account = await profile.find_account(session, account_id)
    return {**_row(account), "credits": await credits.facts(session, account_id=account_id)}


@blueprint.get("/accounts/<uuid:account_id>/timeline")
@admin_only
@query(after=AFTER_PLACE)
@answers(Timeline)
async def show_timeline(account_id: UUID) -> ResponseReturnValue:
    """All that happened to its credits and purchases, newest first; page by `?after=` the `next` of the page before."""
    place = place_of(request.args.get("after", ""))
    async with transaction() as session:
        await profile.find_account(session, account_id)
        return happened(await timeline.page(session, place, account_id=account_id))


def place_of(after: str) -> tuple[datetime, str]:
    """The place on a time line that a page begins behind. Raises InvalidInput."""
    if not after:
        return NOW
    match = PLACE.fullmatch(after)
    if match is None:
        raise InvalidInput(field="after", rule="must be the `next` of the page before")
    return EPOCH + timedelta(microseconds=int(match[1])), match[2]


def happened(page: list[Happening]) -> dict[str, Any]:
    """A page of a time line, and the place where the next one begins."""
    last = page[-1] if len(page) == timeline.PAGE else None
    return {
        "happenings": [{"at": one.at, "key": one.key, "what": one.what, "facts": one.facts} for one in page],
        "next": f"{(last.at - EPOCH) // timedelta(microseconds=1)}.{last.key}" if last else None,
    }


@blueprint.post("/accounts/<uuid:account_id>/adjustments")
@fresh_admin
@answers(AdjustmentFacts, status=201, keyed=True)
@takes(NewAdjustment)
async def adjust(account_id: UUID, data: NewAdjustment) -> ResponseReturnValue:
    """Give credits, or below zero take some; what is taken and not there is owed. Once for each Idempotency-Key."""
    if data.expires_at is not None and data.amount_mc < 0:
        raise InvalidInput(field="expires_at", rule="only what is given expires")
    if data.expires_at is not None and data.expires_at <= datetime.now(UTC):
        raise InvalidInput(field="expires_at", rule="must be in the future")
    async with transaction() as session:
        await profile.find_account(session, account_id)
        made = await adjustments.make(
            session,
            account_id=account_id,
            amount_mc=data.amount_mc,
            reason=data.reason,
            expires_at=data.expires_at,
            made_by=g.account.id,
            attempt_key=attempt_key() or str(uuid4()),
            caller=caller(),
        )
    names = ("id", "account_id", "amount_mc", "reason", "made_by", "expires_at", "created_at")
    return {name: getattr(made, name) for name in names}, 201


@blueprint.get("/reconciliations")
@admin_only
@answers(Reconciliations)
async def list_reconciliations() -> ResponseReturnValue:
    """The last comparisons of Stripe's books with ours."""
    return {"reconciliations": await last_reports()}


async def last_reports() -> list[dict[str, Any]]:
    names = ("id", "since", "started_at", "ended_at", "looked_at", "healed", "findings")
    async with transaction() as session:
        return [{name: getattr(one, name) for name in names} for one in await reports.last(session)]


@blueprint.get("/violations")
@admin_only
@answers(Violations)
async def list_violations() -> ResponseReturnValue:
    """Check each rule of the credits and of billing over all accounts, now."""
    return {"violations": await violations()}


async def violations() -> list[dict[str, Any]]:
    async with transaction() as session:
        return [asdict(one) for one in await invariants.violations(session, ALL)]
