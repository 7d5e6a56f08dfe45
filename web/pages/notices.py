"""The pages of notices and mails: the inbox, and the way out of a mail's topic."""

from quart import Blueprint, g, request
from quart.typing import ResponseReturnValue

from core.accounts import profile
from core.database import transaction
from core.mail import consents
from web import mails, notices
from web.pages import page
from web.session import anyone, signed_in, webhook

blueprint = Blueprint("notice_pages", __name__)


@blueprint.get("/notices")
@signed_in
async def inbox() -> ResponseReturnValue:
    facts = await notices.page(g.account.id, request.args.get("after", ""))
    sent = await mails.of_account(g.account.id)
    return await page("notices.html", {**facts, "mails": sent, "topics": await mails.topics(g.account.id)})


@blueprint.get("/unsubscribe/<token>")
@anyone
async def ask_unsubscribe(token: str) -> ResponseReturnValue:
    """Only shows the button: what reads links in mails for safety's sake presses none. Raises NoSuchLink."""
    async with transaction() as session:
        _, topic = await consents.read_token(session, token)
    return await page("unsubscribe.html", {"words": consents.WORDS[topic], "done": False})


@blueprint.post("/unsubscribe/<token>")
@webhook
async def unsubscribe(token: str) -> ResponseReturnValue:
    """The one press, of a mail program (RFC 8058: no cookie, no further question) or of the page. Raises NoSuchLink.

    Whoever has the link may press it: it turns off one topic of one account, and its owner may turn it on again.
    """
    async with transaction() as session:
        account_id, topic = await consents.read_token(session, token)
        if await profile.addresses(session, {account_id}):  # else it is gone, and gets none anyway
            await consents.choose(session, account_id=account_id, topic=topic, wanted=False, via="mail")
    return await page("unsubscribe.html", {"words": consents.WORDS[topic], "done": True})
