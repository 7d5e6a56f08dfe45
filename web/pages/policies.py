"""The pages of our documents: as they are, as they were, what changed; one's yes or no; and the counts for admins."""

from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.blog.rendering import render
from core.database import transaction
from core.errors import NotFound
from core.privacy import analytics, consents, engagements, policies
from core.privacy.consent_models import Purpose
from core.privacy.policies import Version
from core.privacy.policy_models import Deed, Document
from web import consents as choices
from web import policies as documents
from web.pages import page
from web.session import admin_only, anyone, signed_in

blueprint = Blueprint("policy_pages", __name__)

DAYS_SHOWN = 30


async def _show(document: Document, one: Version, *, now: datetime) -> ResponseReturnValue:
    """A version with its text, and what was changed in it."""
    async with transaction() as session:
        words = await policies.text_of_version(session, document, one.number)
        before = await policies.text_of_version(session, document, one.number - 1) if one.number > 1 else None
        if g.account is not None:
            await engagements.note(
                session,
                Deed.SEEN,
                account_id=g.account.id,
                document=document,
                number=one.number,
                via="page",
                now=now,
            )
    facts: dict[str, Any] = {
        "document": document,
        "version": one,
        "html": render(words).html,
        "changes": []
        if before is None
        else [part for part in policies.difference(before, words) if part.side != "same"],
        "in_force": one.is_in_force(now),
        "replaced": one.is_in_force(now) and one.number != (await policies.current(document, now=now)).number,
        "coming": await policies.coming(document, now=now),
    }
    if document is Document.COOKIES:
        facts["words"] = consents.WORDS[Purpose.ANALYTICS]
    return await page("policy.html", facts)


def _routes(document: Document) -> None:
    """Of one document: what it says now, all its versions, and each of them."""

    @anyone
    async def show() -> ResponseReturnValue:
        now = datetime.now(UTC)
        return await _show(document, await policies.current(document, now=now), now=now)

    @anyone
    async def versions() -> ResponseReturnValue:
        now = datetime.now(UTC)
        known = list(reversed(await policies.versions(document)))
        in_force = next((one.number for one in known if one.is_in_force(now)), None)
        return await page("policy_versions.html", {"document": document, "versions": known, "in_force": in_force})

    @anyone
    async def version(edition: int) -> ResponseReturnValue:
        found = next((one for one in await policies.versions(document) if one.number == edition), None)
        if found is None:
            raise NotFound(document=document, number=edition)
        return await _show(document, found, now=datetime.now(UTC))

    blueprint.add_url_rule(f"/{document}", document.value, show)
    blueprint.add_url_rule(f"/{document}/versions", f"{document}_versions", versions)
    blueprint.add_url_rule(f"/{document}/versions/<int:edition>", f"{document}_version", version)


for one in Document:
    _routes(one)


@blueprint.get("/account/policies")
@signed_in
async def mine() -> ResponseReturnValue:
    """What one is asked to agree to, and what one did so far."""
    facts = await documents.of_account(g.account.id)
    return await page("account_policies.html", {**facts, **await choices.of_account(g.account.id)})


@blueprint.get("/admin/analytics")
@admin_only
async def counts() -> ResponseReturnValue:
    since = datetime.now(UTC).date() - timedelta(days=DAYS_SHOWN - 1)
    async with transaction() as session:
        report = await analytics.report(session, since=since)
    return await page("admin_analytics.html", {"report": report, "days": DAYS_SHOWN})
