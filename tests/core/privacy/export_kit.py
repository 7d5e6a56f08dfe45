"""A person about whom we have something of everything, and what there is of them in the database."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text

from core.accounts.models import Account, Role
from core.consultations import conversation
from core.credits import adjustments, ledger
from core.database import transaction
from core.direct import direct
from core.media import blobs
from core.media.blobs import Room
from core.privacy.exports_models import Export
from core.privacy.registry import Table
from core.privacy.tables import TABLES
from tests.core.billing.test_receipts import issue, make_sold
from tests.core.blog.kit import make_editor, make_post, source
from tests.makers import make_account, make_consultation

GIVEN = [one for one in TABLES if one.owner and one.given]
# What is written by hand, for nobody makes it in two lines. {m}: what tells this person's words from all others'
ROWS = """
    insert into account_codes (account_id, purpose, code_hash, browser_hash, name, company, password_hash, expires_at)
        values ({me}, 'registration', '\\x{x}01', '\\x{x}02', 'Code {m}', 'Co {m}', 'hash-{m}', now() + interval '1 h');
    insert into web_sessions (token_hash, account_id, user_agent, ip, expires_at)
        values ('\\x{x}03', {me}, 'Agent {m}', 'ip-{m}', now() + interval '1 h');
    insert into totps (account_id, secret) values ({me}, '\\x{x}04');
    insert into passkeys (account_id, credential_id, public_key, sign_count, aaguid, transports, backup_eligible,
        backed_up, name) values ({me}, '\\x{x}05', '\\x{x}06', 7, 'aa-{m}', '["usb"]', false, false, 'Key {m}');
    insert into recovery_codes (account_id, code_hash) values ({me}, '\\x{x}07');
    insert into email_codes (id, account_id, attempt_hash, purpose, code_hash, expires_at)
        values (gen_random_uuid(), {me}, '\\x{x}08', 'sign_in', '\\x{x}09', now());
    insert into lost_factors (id, account_id, due_at, told_at) values (gen_random_uuid(), {me}, now(), now());
    insert into mail_consents (account_id, topic, wanted, via, words) values ({me}, 'low_balance', false, 'pages', 1);
    insert into mail_deliveries (key, account_id, recipient, template, facts)
        values ('test-{m}', {me}, 'to-{m}@people.example', 'sign_in_code', '{{"code": "code-{m}", "link": "link-{m}",
            "way_out": "out-{m}", "name": "Mail {m}"}}');
    insert into notices (key, account_id, kind, facts)
        values ('test-{m}', {me}, 'announcement', '{{"title": "T {m}"}}');
    insert into refunds (purchase_id, origin, amount_minor, state, stripe_refund_id, failure)
        values ({purchase}, 'stripe', 5, 'failed', 're_{m}', 'Failure {m}');
    insert into disputes (id, purchase_id, amount_minor, status, reason)
        values ('dp_{m}', {purchase}, 5, 'won', 'R {m}');
    update purchases set stripe_session_id = 'cs_{m}', checkout_url = 'https://pay.example/{m}' where id = {purchase};
    insert into stripe_events (id, type, body) values ('evt_{m}', 'checkout.session.completed', '{{"data": {{"object":
        {{"object": "checkout.session", "id": "cs_{m}", "client_secret": "secret-{m}", "name": "Payer {m}"}}}}}}');
    insert into post_likes (post_id, account_id) values ({post}, {me});
    insert into post_comments (post_id, account_id, source, state, decided_at, decided_by)
        values ({post}, {me}, '=1+1 comment {m}', 'shown', now(), {other});
    insert into post_revisions (post_id, number, based_on, source, made_by)
        select {post}, max(number) + 1, max(number), 'Revision {m}', {me} from post_revisions where post_id = {post};
    insert into kept_answers (account_id, key, request_hash, answer)
        values ({me}, 'k-{m}', '\\x{x}0a', '{{"a": "{m}"}}');
    insert into audit_entries (actor_id, account_id, action, object, outcome, ip, user_agent, request_id, facts)
        values ({me}, {me}, 'signed_in', '', 'done', 'my-ip-{m}', 'my agent {m}', 'req-{m}', '{{"a": "fact {m}"}}'),
            ({other}, {me}, 'disabled', '', 'done', 'admin-ip-{o}', 'admin agent {o}', '', '{{"reason": "why {m}"}}');
    insert into media (account_id, name, size, state, width, height, colour)
        values ({me}, 'picture {m}.png', 9, 'ready', 1, 1, '#000000');
    insert into consents (account_id, purpose, wanted, words, via, gpc)
        values ({me}, 'analytics', false, 1, 'panel', true);
    insert into privacy_requests (account_id, kind, sources, state, sender, words, received_at, acknowledge_by,
        gdpr_due, ccpa_due, identity, closed_at)
        values ({me}, 'objection', '{{account}}', 'refused', 'from-{m}', 'Wish {m}', now(), now(), now(), now(),
            'told {m}', now());
    insert into privacy_request_steps (request_id, at, did, manner, words, by)
        select id, now(), 'refused', 'admin', 'Step {m}', {other} from privacy_requests where account_id = {me};
    insert into legal_holds (account_id, reason, placed_by, placed_at, lifted_by, lifted_at)
        values ({me}, 'Matter {m}', {other}, now(), {other}, now());
    insert into held_texts values (gen_random_uuid(), {me}, current_date, 'Held {m}');
    insert into erasures (account_id, state, asked_at, due_at, ended_at, link_hash)
        values ({me}, 'undone', now(), now(), now(), '\\x{x}0b');
    with team as (insert into teams (name) values ('Team ' || gen_random_uuid()) returning id),
        members as (insert into team_members (team_id, account_id, role, joined_at)
            select id, who, 'owner', now() from team, unnest(array[{me}, {other}]) who)
    insert into team_invitations (team_id, email, email_key, invited_by, created_at, expires_at)
        select id, email, email, {other}, now(), now() + interval '1 d'
        from team, unnest(array['{m}@people.example', 'guest-{o}@people.example']) email;
    insert into team_looks (account_id, viewer_id, team_id, team_name, what, at)
        select {me}, {other}, team_id, 'Looked {m}', 'usage', now() from team_members where account_id = {me} limit 1;
    insert into media_uses select id, 'post:' || {post} from media where account_id = {me};
"""


@dataclass
class Somebody:
    id: UUID
    mark: str = field(default_factory=lambda: uuid4().hex)
    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    async def made(cls) -> "Somebody":
        here = cls(UUID(int=0))
        async with transaction() as session:
            here.id = await make_account(session, email=f"{here.mark}@people.example", role=Role.ADMIN)
            account = await session.get_one(Account, here.id)
            account.name, account.company = f"=2+3 Name {here.mark}", f"Company {here.mark}"
            account.password_hash = f"hash-{here.mark}"
        return here

    async def fill(self, other: "Somebody", *, pictures: int = 2, messages: int = 4) -> None:
        """Have something in every table that a copy is made of; other: an admin who had to do with them"""
        purchase = await make_sold(buyer=self.id)
        await issue(purchase)
        post = await make_post(source(), await make_editor())
        async with transaction() as session:
            await ledger.grant(
                session, account_id=self.id, amount_mc=1_650_000, source=f"purchase:{purchase}", kind="purchase"
            )
            await adjustments.make(
                session,
                account_id=self.id,
                made_by=other.id,
                amount_mc=5,
                reason=f"Reason {self.mark}",
                attempt_key=self.mark,
            )
            consultation = await make_consultation(session, self.id)
            await conversation.ask(
                session, account_id=self.id, consultation_id=consultation, question=f"Question {self.mark}"
            )
            await self._talk(session, consultation, messages)
        ids = {"me": self.id, "other": other.id, "purchase": purchase, "post": post.id}
        quoted = {name: f"'{value}'::uuid" for name, value in ids.items()}
        async with direct() as unit:
            await unit.driver.execute(ROWS.format(m=self.mark, o=other.mark, x=self.mark, **quoted))
        await self._pictures(pictures)

    async def _talk(self, session: Any, consultation: UUID, messages: int) -> None:
        await session.execute(
            text("""
                with said as (
                    insert into messages (id, consultation_id, role, said_on, bytes)
                    select uuidv7(), :consultation, case when n % 2 = 0 then 'question' else 'answer' end,
                        current_date, 100
                    from generate_series(1, :messages) n returning id, said_on
                )
                insert into message_texts (said_on, message_id, text)
                select said_on, id, 'Words "of" \\ ' || id || E'\n\ttwo lines, é 你 ' || :mark from said
            """),
            {"consultation": consultation, "messages": messages, "mark": self.mark},
        )

    async def _pictures(self, count: int) -> None:
        """Files in the public room, and one that the storage has lost."""
        async with transaction() as session:
            media_id = await session.scalar(text("select id from media where account_id = :me"), {"me": self.id})
            for number in range(count):
                name = f"{uuid4().hex * 2}.webp"
                self.files[name] = f"picture {number} {self.mark}".encode() * 1000
                await session.execute(
                    text("insert into media_files values (:id, :name, 1, 1, 9)"), {"id": media_id, "name": name}
                )
            await session.execute(
                text("insert into media_files values (:id, :name, 1, 1, 9)"),
                {"id": media_id, "name": f"{'0' * 32}{self.mark}.webp"},
            )
        for name, content in self.files.items():
            await blobs.publish(name, content, "image/webp")

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        """All rows that are theirs, with all columns."""
        query = f"select row_to_json({table.name}) from {table.name} where {table.owner}"  # noqa: S608  # names of ours
        async with transaction() as session:
            return list(await session.scalars(text(query), {"account": self.id}))

    async def leaves(self, *, secret: bool = False) -> set[str]:
        """Every text of theirs that the database has, long enough to be told from others; or the secrets alone."""
        found: set[str] = set()
        for table in TABLES:
            if table.owner:
                for row in await self.rows(table):
                    kept = {name: row[name] for name in table.secret.split()} if secret else row
                    found |= set(texts(kept))
        return {one for one in found if len(one) >= 8}


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


class Copy:
    """What is in a copy, unpacked."""

    def __init__(self, zipped: bytes) -> None:
        self.size = len(zipped)
        with zipfile.ZipFile(io.BytesIO(zipped)) as opened:
            assert opened.testzip() is None
            self.files = {one: opened.read(one) for one in opened.namelist()}
            assert len(self.files) == len(opened.namelist())

    @classmethod
    async def of(cls, export: Export) -> "Copy":
        assert export.blob is not None
        _, chunks = await blobs.fetch(Room.EXPORTS, export.blob)
        return cls(b"".join([chunk async for chunk in chunks]))

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    def rows(self, table: Table) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json(f"data/{table.name}.json")
        return rows

    @property
    def everything(self) -> str:
        """All of it that is text, with the texts of JSON as they were before it was JSON."""
        parts = [content.decode() for name, content in self.files.items() if not name.endswith((".pdf", ".webp"))]
        parts += ["\n".join(texts(self.json(name))) for name in self.files if name.endswith(".json")]
        return "\n".join([*parts, *self.files])


async def account_ids() -> set[UUID]:
    async with transaction() as session:
        return set(await session.scalars(select(Account.id)))
