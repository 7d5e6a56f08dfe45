"""Where the mail is that somebody waits for, told to the browser that asked for it, who need not be known to us.

Whoever asks gets a ticket, and for every address a mail is written: with a code, or with the word that there is nothing
to prove. So neither the ticket nor what it shows tells whether there is an account (docs/threat-model.md).
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.addresses import Address
from core.accounts.codes import SENDS, SENDS_IN, SENDS_OF_ONE_BROWSER, browser_hash
from core.mail.deliveries import send
from core.mail.models import Delivery, DeliveryState

LIFE = timedelta(minutes=15)  # as the code in the mail
TEMPLATES = ("verification", "already_registered", "password_reset", "no_account", "email_change_code")


class MailState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    WITHHELD = "withheld"  # there is no such mail: several were sent of late


@dataclass(frozen=True)
class Waiting:
    """state: of the mail. words: what it means, and what to do."""

    state: MailState
    words: str


_SHOWN = {
    DeliveryState.QUEUED: MailState.QUEUED,
    DeliveryState.SENDING: MailState.SENDING,
    DeliveryState.DEFERRED: MailState.DEFERRED,
    DeliveryState.SENT: MailState.ACCEPTED,
    DeliveryState.BOUNCED: MailState.REFUSED,
    DeliveryState.SUPPRESSED: MailState.FAILED,
    DeliveryState.FAILED: MailState.FAILED,
}
WORDS = {
    MailState.QUEUED: "Our mail to you is about to be sent.",
    MailState.SENDING: "Our mail to you is being handed over.",
    MailState.DEFERRED: "The mail server asks us to wait. We try again by ourselves; you need not do anything.",
    MailState.ACCEPTED: "The mail server has accepted our mail. It may take a minute; look among junk mail too.",
    MailState.REFUSED: "The mail server refused our mail. Is the address right? If it is, ask its provider why.",
    MailState.FAILED: "We could not hand our mail over. Please ask for another code.",
    MailState.WITHHELD: "No mail was sent: you asked for several of late. Use the newest, or wait ten minutes.",
}


def ticket() -> UUID:
    """For a mail that is withheld: it names none."""
    return uuid4()


async def state_of(session: AsyncSession, mail: UUID) -> Waiting:
    """Where the mail of this ticket is."""
    keys = [f"{template}:{mail}" for template in TEMPLATES]
    query = select(Delivery.state).where(Delivery.key.in_(keys), Delivery.created_at > func.now() - LIFE)
    found = await session.scalar(query)
    state = MailState.WITHHELD if found is None else _SHOWN[DeliveryState(found)]
    return Waiting(state, WORDS[state])


async def tell_nothing_there(session: AsyncSession, *, address: Address, browser: str) -> UUID:
    """Tell an address that it has no account which a password could be set for, as often as codes are sent; the ticket.

    Its owner learns of a slip of the pen, and nobody else learns anything.
    """
    mine = browser_hash(browser).hex()
    # Who owns no row to lock waits here, so that parallel askers are counted one after another.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(address.key, 0))))
    recent = (
        Delivery.recipient == address.key,
        Delivery.template == "no_account",
        Delivery.created_at > func.now() - SENDS_IN,
    )
    askers = (await session.scalars(select(Delivery.facts["browser"].astext).where(*recent))).all()
    mail = ticket()
    if len(askers) < SENDS and sum(one == mine for one in askers) < SENDS_OF_ONE_BROWSER:
        await send(
            session,
            key=f"no_account:{mail}",
            account_id=None,
            recipient=address.key,
            template="no_account",
            facts={"email": address.email, "browser": mine},
        )
    return mail
