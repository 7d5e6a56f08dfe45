"""Which mails a person wants beyond those about their own doing; turned off from any such mail by one press."""

import base64
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import ClofyError, Kind
from core.mail.models import Consent, Delivery, Topic
from core.secrets import is_signed, signatures

WORDS_VERSION = 1  # of WORDS; a change of them is a new one, so that each choice says what was asked
WORDS = {
    Topic.ANNOUNCEMENTS: "News about Clofy Cloud: new services, prices, changes. A few times a year.",
    Topic.LOW_BALANCE: "A word when few credits are left, once after each purchase.",
}
UNLESS_TURNED_OFF = frozenset({Topic.LOW_BALANCE})  # it is about what they bought; news needs a yes first
WAY_OUT = "way_out"  # among the facts of a mail of a topic
TOPIC_OF = {"announcement": Topic.ANNOUNCEMENTS, "low_balance": Topic.LOW_BALANCE}  # by the mail's template


class NoSuchLink(ClofyError):
    """This link is not one of ours, or too old. You can choose on your account page what we write to you."""

    kind = Kind.NOT_FOUND


async def choose(session: AsyncSession, *, account_id: UUID, topic: Topic, wanted: bool, via: str) -> None:
    """Keep a choice. One that changes nothing is kept too: it was made."""
    session.add(Consent(account_id=account_id, topic=topic, wanted=wanted, via=via, words=WORDS_VERSION))
    await session.flush()


async def choices(session: AsyncSession, *, account_id: UUID) -> dict[Topic, bool]:
    """For each topic, whether the person wants it."""
    latest = (
        select(Consent.topic, Consent.wanted)
        .where(Consent.account_id == account_id)
        .ext(distinct_on(Consent.topic))
        .order_by(Consent.topic, Consent.id.desc())
    )
    chosen = {Topic(topic): wanted for topic, wanted in await session.execute(latest)}
    return {topic: chosen.get(topic, topic in UNLESS_TURNED_OFF) for topic in Topic}


async def next_choices(
    session: AsyncSession, topic: Topic, *, after: UUID | None, limit: int
) -> list[tuple[UUID, bool]]:
    """The next accounts that ever chose about a topic, by id, and whether they want it now."""
    chosen = (
        select(Consent.account_id, Consent.wanted)
        .where(Consent.topic == topic)
        .ext(distinct_on(Consent.account_id))
        .order_by(Consent.account_id, Consent.id.desc())
        .limit(limit)
    )
    if after is not None:
        chosen = chosen.where(Consent.account_id > after)
    return [(account_id, wanted) for account_id, wanted in await session.execute(chosen)]


def _signed_part(account_id: UUID, topic: Topic) -> bytes:
    return b"unsubscribe:" + account_id.bytes + topic.encode()


def unsubscribe_token(account_id: UUID, topic: Topic) -> str:
    """What a mail's link carries; it turns off this topic of this account, and nothing else.

    It is signed, so that it outlives the account; and kept with its mail (WAY_OUT), so that it outlives the key.
    """
    signature = base64.urlsafe_b64encode(signatures(_signed_part(account_id, topic))[0]).decode().rstrip("=")
    return f"{account_id.hex}.{topic}.{signature}"


async def read_token(session: AsyncSession, token: str) -> tuple[UUID, Topic]:
    """Whose, and which topic. Raises NoSuchLink."""
    try:
        account, topic, signature = token.split(".")
        account_id, known = UUID(account), Topic(topic)
        given = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    except ValueError:
        raise NoSuchLink from None
    if not is_signed(_signed_part(account_id, known), given):
        ours = exists().where(Delivery.account_id == account_id, Delivery.facts[WAY_OUT].astext == token)
        if not await session.scalar(select(ours)):
            raise NoSuchLink
    return account_id, known
