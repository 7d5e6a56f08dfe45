"""Mails to oneself: where each is, and which one wants; the link in them that turns a topic off."""

from typing import Any
from uuid import UUID

from quart import Blueprint, g
from quart.typing import ResponseReturnValue

from core.database import transaction
from core.errors import NotFound
from core.mail import consents, queries
from core.mail.models import Delivery, Topic
from core.mail.render import subject_of
from web.notice_shapes import Mails, Topics
from web.openapi import answers
from web.session import signed_in

blueprint = Blueprint("mails", __name__, url_prefix="/api/account")


@blueprint.get("/mails")
@signed_in
@answers(Mails)
async def index() -> ResponseReturnValue:
    """The newest mails to one's account, and where each of them is."""
    return {"mails": await of_account(g.account.id)}


async def of_account(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        return [shown(one) for one in await queries.of_account(session, account_id=account_id)]


def shown(mail: Delivery) -> dict[str, Any]:
    facts = {"subject": subject_of(mail.template, mail.facts), "state": mail.state}
    return {**facts, "created_at": mail.created_at, "sent_at": mail.sent_at}


@blueprint.get("/mail-topics")
@signed_in
@answers(Topics)
async def list_topics() -> ResponseReturnValue:
    """What one may turn on and off."""
    return {"topics": await topics(g.account.id)}


async def topics(account_id: UUID) -> list[dict[str, Any]]:
    async with transaction() as session:
        chosen = await consents.choices(session, account_id=account_id)
    return [{"topic": topic, "words": consents.WORDS[topic], "wanted": wanted} for topic, wanted in chosen.items()]


@blueprint.put("/mail-topics/<topic>")
@signed_in
@answers(None, status=204)
async def turn_on(topic: str) -> ResponseReturnValue:
    """Have mails of this topic; each choice is kept with its time."""
    return await _choose(topic, wanted=True)


@blueprint.delete("/mail-topics/<topic>")
@signed_in
@answers(None, status=204)
async def turn_off(topic: str) -> ResponseReturnValue:
    """Have no more of them; each choice is kept with its time."""
    return await _choose(topic, wanted=False)


async def _choose(topic: str, *, wanted: bool) -> ResponseReturnValue:
    if topic not in {*Topic}:
        raise NotFound(topic=topic)
    async with transaction() as session:
        await consents.choose(session, account_id=g.account.id, topic=Topic(topic), wanted=wanted, via="account")
    return "", 204
