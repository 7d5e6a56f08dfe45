"""A person whose name, words, addresses and files carry one mark, in every table that holds such."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit, jobs
from core.accounts import attempts, codes
from core.accounts.factors import email_codes, passkeys, recovery, totp
from core.accounts.factors.models import LostFactor, Passkey
from core.accounts.models import Account
from core.accounts.profile import provide_account
from core.accounts.web_sessions import start_session, token_hash
from core.audit import Action, Caller
from core.billing import receipts, stripe_events
from core.billing.models import Purchase
from core.blog import readers
from core.consultations import conversation
from core.credits import adjustments, ledger
from core.database import transaction
from core.jobs import Job
from core.mail import consents as mail_consents
from core.mail import deliveries
from core.mail.models import Topic
from core.media.models import Media, MediaFile, MediaState, MediaUse
from core.notices import inbox
from core.privacy import consent_models, consents, engagements, holds, requests
from core.privacy.exports_models import Export, ExportState
from core.privacy.policy_models import Deed, Document
from core.privacy.purge_models import HeldText
from core.privacy.request_models import RequestKind, Via
from core.privacy.tables import TABLES
from core.replays import KeptAnswer
from core.teams import teams
from core.teams.models import Invitation, Look, Member, TeamRole
from tests.core.billing.kit import make_event
from tests.core.blog.kit import make_editor, make_post, source
from tests.makers import make_account, make_consultation

EVERYTHING = """
    select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
"""


@dataclass
class Life:
    """mark: in all that is theirs. address: of the network."""

    mark: str
    id: UUID = field(default_factory=uuid4)
    email: str = ""
    job: UUID = field(default_factory=uuid4)
    waiting_media: UUID = field(default_factory=uuid4)
    shown_media: UUID = field(default_factory=uuid4)
    purchase: UUID = field(default_factory=uuid4)

    @property
    def address(self) -> str:
        return f"2001:db8:{self.mark[:4]}:{self.mark[4:8]}::1"

    @property
    def marks(self) -> tuple[str, str]:
        return self.mark, self.address


async def make_life() -> Life:
    """Committed; with credits, a paid purchase, a question and its answer, a comment, pictures, mails, and so on."""
    life = Life(mark=uuid4().hex[:12])
    life.email = f"{life.mark}@people.example"
    caller = Caller(ip=life.address, user_agent=f"agent {life.mark}", request_id="r")
    slug = f"post-{uuid4().hex}"
    await make_post(source(slug=slug), await make_editor())
    async with transaction() as session:
        life.id = await provide_account(
            session, email=life.email, password_hash=f"hash {life.mark}", name=f"name {life.mark}"
        )
        await session.execute(update(Account).where(Account.id == life.id).values(company=f"company {life.mark}"))
        await start_session(session, account_id=life.id, user_agent=f"agent {life.mark}", ip=life.address)
        await _security(session, life, caller)
        await _money(session, life)
        await _talk(session, life, slug)
        await _media(session, life)
        await _mails(session, life)
        await _team(session, life)
        await _chosen(session, life)
        await requests.file(
            session,
            account_id=life.id,
            kind=RequestKind.CORRECTION,
            via=Via.ACCOUNT,
            now=datetime.now(UTC),
            words=f"words {life.mark}",
        )
    await make_post(source(title="Of the house"), life.id)
    return life


async def _security(session: AsyncSession, life: Life, caller: Caller) -> None:
    await codes.issue_code(
        session, account_id=life.id, browser=life.mark, purpose=codes.RESET_PASSWORD, password_hash=f"h {life.mark}"
    )
    session.add(
        Passkey(
            account_id=life.id,
            credential_id=uuid4().bytes,
            public_key=b"",
            sign_count=0,
            aaguid="",
            transports=[],
            backup_eligible=False,
            backed_up=False,
            name=f"phone {life.mark}",
        )
    )
    account = await session.get_one(Account, life.id)
    await totp.provide(session, account_id=life.id, secret="A" * 32)
    await recovery.make(session, account_id=life.id)
    await passkeys.ask_to_make(session, account=account, bound_to=b"")
    attempt = token_hash(await attempts.begin(session, account=account))
    await email_codes.issue(session, account=account, attempt_hash=attempt, purpose=email_codes.Purpose.SIGN_IN)
    now = datetime.now(UTC)
    session.add(LostFactor(id=uuid4(), account_id=life.id, due_at=now, told_at=now, ended_at=now, outcome="stopped"))
    await audit.note(session, Action.SIGNED_IN, account_id=life.id, caller=caller, facts={"factor": "totp"})
    await audit.note(
        session, Action.DISABLED, account_id=life.id, caller=caller, facts={"reason": f"reason {life.mark}"}
    )


async def _money(session: AsyncSession, life: Life) -> None:
    admin = await provide_account(session, email=f"{uuid4()}@people.example", password_hash="", name="An admin")
    await adjustments.make(
        session,
        account_id=life.id,
        amount_mc=1_000_000,
        reason=f"reason {life.mark}",
        made_by=admin,
        attempt_key=str(uuid4()),
    )
    life.purchase = uuid4()
    session.add(
        Purchase(
            id=life.purchase,
            account_id=life.id,
            attempt_key=str(uuid4()),
            bundle="starter",
            credits_mc=500_000,
            amount_minor=500,
            currency="usd",
            livemode=False,
            state="paid",
            stripe_session_id=f"cs_{uuid4().hex}",
            checkout_url=f"https://checkout.example/{life.mark}",
            paid_at=datetime.now(UTC) - timedelta(days=20),
        )
    )
    await session.flush()
    of_it = f"purchase:{life.purchase}"
    await ledger.grant(session, account_id=life.id, amount_mc=500_000, source=of_it, kind="purchase")
    await receipts.issue(session, life.purchase)
    session_id = await session.scalar(select(Purchase.stripe_session_id).where(Purchase.id == life.purchase))
    event: dict[str, Any] = make_event(str(session_id))
    event["data"]["object"] |= {
        "customer_email": life.email,
        "customer_details": {"name": f"payer {life.mark}"},
        "metadata": {"note": life.mark},
    }
    await stripe_events.record(session, event)


async def _talk(session: AsyncSession, life: Life, slug: str) -> None:
    consultation = await make_consultation(session, life.id)
    asked = await conversation.ask(
        session, account_id=life.id, consultation_id=consultation, question=f"question {life.mark}"
    )
    life.job = asked.job
    await jobs.cancel(session, asked.job, account_id=life.id)
    said = "update message_texts set text = text || ' and answer ' || :mark where message_id = :id"
    await session.execute(text(said), {"mark": life.mark, "id": asked.message})
    await session.execute(
        update(Job)
        .where(Job.id == asked.job)
        .values(result={"said": life.mark}, payload=Job.payload.concat({"more": life.mark}))
    )
    await readers.like(session, slug, account_id=life.id)
    await readers.comment(session, slug, account_id=life.id, source=f"comment {life.mark}")
    session.add(KeptAnswer(account_id=life.id, key="k", request_hash=b"", answer={"said": life.mark}))
    await session.flush()


async def _media(session: AsyncSession, life: Life) -> None:
    digest = hashlib.sha256(life.mark.encode()).hexdigest()
    about = {"account_id": life.id, "size": 1, "state": MediaState.READY, "width": 1, "height": 1, "colour": "#000000"}
    waits = Media(name=f"unused {life.mark}", **about)
    shown = Media(name=f"shown {life.mark}", **about)
    session.add_all([waits, shown])
    await session.flush()
    life.waiting_media, life.shown_media = waits.id, shown.id
    for media, name in ((waits, digest), (shown, uuid4().hex * 2)):
        session.add(MediaFile(media_id=media.id, name=f"{name}.webp", width=1, height=1, size=1))
    session.add(MediaUse(media_id=shown.id, used_by=f"post:{uuid4()}"))
    await session.flush()


async def _mails(session: AsyncSession, life: Life) -> None:
    facts = {"name": f"name {life.mark}", "title": f"title {life.mark}", "text": life.mark}
    for account_id in (life.id, None):
        key = f"test:{life.mark}:{account_id}"
        await deliveries.send(
            session, key=key, account_id=account_id, recipient=life.email, template="announcement", facts=facts
        )
    await inbox.tell(session, key=f"n:{life.mark}", account_id=life.id, kind="announcement", facts=facts)


async def _team(session: AsyncSession, life: Life) -> None:
    """One of theirs with another member, one that asks them to join, and a look at what they do."""
    now, other = datetime.now(UTC), await make_account(session)
    own = await teams.make(session, account_id=life.id, name="Letters", now=now)
    session.add(Member(team_id=own.id, account_id=other, role=TeamRole.MEMBER, joined_at=now))
    others = await teams.make(session, account_id=other, name="Numbers", now=now)
    session.add(
        Invitation(
            team_id=others.id,
            email=life.email,
            email_key=life.email,
            invited_by=other,
            created_at=now,
            expires_at=now + timedelta(days=14),
        )
    )
    session.add(Look(account_id=life.id, viewer_id=other, team_id=own.id, team_name=life.mark, what="usage", at=now))
    await session.flush()


async def _chosen(session: AsyncSession, life: Life) -> None:
    now = datetime.now(UTC)
    await mail_consents.choose(session, account_id=life.id, topic=Topic.ANNOUNCEMENTS, wanted=True, via="account")
    await consents.choose(
        session, account_id=life.id, wanted=True, via=next(iter(consent_models.Via)), gpc=False, now=now
    )
    await engagements.note(
        session, Deed.SHOWN, account_id=life.id, document=Document.PRIVACY, number=1, via="page", now=now
    )
    hold = await holds.place(session, life.id, reason=f"matter {life.mark}", by=None, now=now)
    await holds.lift(session, hold, by=None, now=now)
    session.add(HeldText(message_id=uuid4(), account_id=life.id, said_on=now.date(), text=f"held {life.mark}"))
    ended: dict[str, Any] = {"state": ExportState.READY, "blob": f"{life.mark}.zip", "ended_at": now}
    session.add(Export(account_id=life.id, job_id=uuid4(), **ended))
    await session.flush()


async def places_with(session: AsyncSession, *marks: str) -> dict[str, list[str]]:
    """Each table that has one of these words in a row, in whatever column; with those rows."""
    found: dict[str, list[str]] = {}
    for name in (await session.scalars(text(EVERYTHING))).all():
        for mark in marks:
            query = text(f"select t::text from {name} t where t::text ilike '%' || :mark || '%'")  # noqa: S608  # names of tables
            rows = (await session.scalars(query, {"mark": mark})).all()
            if rows:
                found.setdefault(name, []).extend(rows)
    return found


async def sums(session: AsyncSession, account_id: UUID) -> dict[str, str]:
    """A sum of all rows of an account, table by table."""
    found = {}
    for table in TABLES:
        if table.owner:
            query = text(
                f"select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table.name} t"  # noqa: S608  # the registry's words
                f" where {table.owner}"
            )
            found[table.name] = (await session.execute(query, {"account": account_id})).scalar_one()
    return found
